//! How values that are written as text appear in the OpenAPI document.

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::bytes::{Base64, Sha256};
use crate::text::{Duration, Size};

macro_rules! text {
    ($name:ident, $pattern:literal, $example:literal) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern)).examples([$example]).into()
            }
        }

        impl ToSchema for $name {}
    };
}

text!(Duration, "^[0-9]+(ms|s|m|h|d)$", "30s");
text!(Size, "^[0-9]+(KiB|MiB|GiB)?$", "64KiB");
text!(Base64, "^[A-Za-z0-9+/]*={0,2}$", "AAAA");
text!(Sha256, "^[0-9a-f]{64}$", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
