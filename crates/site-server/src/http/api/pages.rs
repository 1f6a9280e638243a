//! Pages for a person in a browser: HTML without scripts, styles or anything from elsewhere, and only in the frame of its own window.

use axum::http::{StatusCode, header};

use super::answer::Answer;

/// Forms are sent to the site only; nothing else is permitted.
const POLICY: &str = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page. What stands in `body` is HTML: see [`escaped`].
pub(super) fn page(status: StatusCode, title: &str, body: &str) -> Answer {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\n<body>\n<h1>{0}</h1>\n{body}</body></html>\n",
        escaped(title)
    );
    // Without a referrer, browsers say of a form of this very page that it comes from nowhere.
    Answer::page(status, html)
        .header(header::CONTENT_TYPE.as_str(), "text/html; charset=utf-8".to_owned())
        .header(header::CONTENT_SECURITY_POLICY.as_str(), POLICY.to_owned())
        .header(header::REFERRER_POLICY.as_str(), "same-origin".to_owned())
}

/// A text as it stands in HTML, in quotes too.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_of_the_site_ends_no_attribute() {
        assert_eq!(escaped("a\"><script>&'"), "a&quot;&gt;&lt;script&gt;&amp;&#39;");
    }
}
