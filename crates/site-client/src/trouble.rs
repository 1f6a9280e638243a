//! A trouble that lasts is told once, and again when it becomes another one.

/// What was told last.
#[derive(Default)]
pub struct Trouble(Option<String>);

impl Trouble {
    /// It is there; true: that was not told yet.
    pub fn is_news(&mut self, text: &str) -> bool {
        let is_news = self.0.as_deref() != Some(text);
        if is_news {
            self.0 = Some(text.to_owned());
        }
        is_news
    }

    /// It is over; true: it was there.
    pub fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_news_once_and_so_is_its_end() {
        let mut trouble = Trouble::default();

        assert!(!trouble.is_over());
        assert!(trouble.is_news("a") && !trouble.is_news("a") && trouble.is_news("b"));
        assert!(trouble.is_over() && !trouble.is_over());
    }
}
