//! A row of the table: everything that is known of a route.

use std::pin::Pin;

use axum::routing::MethodFilter;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::answer::Answer;
use super::asked::Asked;
use super::body::{LARGEST, LARGEST_OF_STRANGERS};
use crate::app::roles::Needs;
use crate::http::problem::Refused;

/// The methods that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    pub(crate) fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// Whether it changes anything.
    pub(crate) fn changes(self) -> bool {
        self != Self::Get
    }
}

/// A parameter of a query: its name, its JSON type, and what it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter(pub(crate) &'static str, pub(crate) &'static str, pub(crate) &'static str);

/// The shape of a body: its name among the schemas, and how it and those that it names are collected.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) collect: fn(&mut Vec<(String, RefOr<Schema>)>),
    /// The name of a schema that is the same but for these properties.
    pub(crate) beside: Option<(String, Value)>,
}

impl Shape {
    pub(crate) fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name().into_owned(),
            collect: |into| {
                into.push((T::name().into_owned(), T::schema()));
                T::schemas(into);
            },
            beside: None,
        }
    }
}

/// What carries a route out.
pub(crate) type Serve = Box<dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Result<Answer, Refused>> + Send>> + Send + Sync>;

/// A row of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Under the base, with `{name}` for variable parts.
    pub(crate) path: String,
    pub(crate) needs: Needs,
    /// What it does, in one line.
    pub(crate) summary: String,
    pub(crate) query: &'static [Parameter],
    /// Whether others than these may stand in the query, which are not looked at.
    pub(crate) free_query: bool,
    pub(crate) takes: Option<Shape>,
    /// Whether it takes a form of a page in the place of JSON.
    pub(crate) form: bool,
    /// The largest body, in bytes: little where anybody may ask.
    pub(crate) largest: usize,
    pub(crate) gives: Option<Shape>,
    /// The status of success.
    pub(crate) status: u16,
    /// Whether `If-Match` is needed.
    pub(crate) matches: bool,
    /// Whether `Idempotency-Key` is looked at.
    pub(crate) once: bool,
    pub(crate) serve: Serve,
}

impl Route {
    /// A route that answers 200 to a GET, 201 to a POST, 200 to a PUT, 204 to a DELETE.
    pub(crate) fn new<F, A>(method: Method, path: impl Into<String>, needs: Needs, summary: impl Into<String>, serve: F) -> Self
    where
        F: Fn(Asked) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Answer, Refused>> + Send + 'static,
    {
        let status = match method {
            Method::Get | Method::Put => 200,
            Method::Post => 201,
            Method::Delete => 204,
        };
        Self {
            method,
            path: path.into(),
            needs,
            summary: summary.into(),
            query: &[],
            free_query: false,
            takes: None,
            form: false,
            largest: if needs == Needs::Nobody { LARGEST_OF_STRANGERS } else { LARGEST },
            gives: None,
            status,
            matches: false,
            once: false,
            serve: Box::new(move |asked| Box::pin(serve(asked))),
        }
    }

    pub(crate) fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    pub(crate) fn free_query(self) -> Self {
        Self { free_query: true, ..self }
    }

    pub(crate) fn takes<T: ToSchema>(self) -> Self {
        Self { takes: Some(Shape::of::<T>()), ..self }
    }

    /// It takes a form of a page.
    pub(crate) fn form(self) -> Self {
        Self { form: true, ..self }
    }

    /// What the body has to be.
    pub(crate) fn media_type(&self) -> &'static str {
        if self.form { "application/x-www-form-urlencoded" } else { "application/json" }
    }

    pub(crate) fn gives<T: ToSchema>(self) -> Self {
        self.gives_shape(Shape::of::<T>())
    }

    pub(crate) fn gives_shape(self, shape: Shape) -> Self {
        Self { gives: Some(shape), ..self }
    }

    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The version that is changed stands in `If-Match`.
    pub(crate) fn matches(self) -> Self {
        Self { matches: true, ..self }
    }

    /// Sent twice with one `Idempotency-Key`, it is carried out once.
    pub(crate) fn once(self) -> Self {
        Self { once: true, ..self }
    }

    pub(crate) fn needs_text(&self) -> &'static str {
        match self.needs {
            Needs::Nobody => "nobody",
            Needs::SignedIn => "signed-in",
            Needs::Read => "read",
            Needs::Infrastructure => "infrastructure",
            Needs::Full => "full",
        }
    }
}
