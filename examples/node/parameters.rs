//! The parameters of a request: `?key=Tom&group=scores`.

use std::str::Utf8Error;

use percent_encoding::percent_decode_str;

/// Returns the value of the first parameter called `name` in a URL's query, or `None`.
///
/// Read as HTML forms and every HTTP client write it: a plus is a space, and a plus itself is `%2B`.
///
/// # Errors
///
/// Fails if the value is not UTF-8.
pub(crate) fn find(query: &str, name: &str) -> Result<Option<String>, Utf8Error> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    for (found, value) in pairs {
        if decode(found).is_ok_and(|found| found == name) {
            return decode(value).map(Some);
        }
    }
    Ok(None)
}

fn decode(text: &str) -> Result<String, Utf8Error> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_and_decoded() {
        let query = "group=a%2Fb&key=U%2B1F955+%E6%B1%89&key=second";
        assert_eq!(find(query, "key").unwrap().as_deref(), Some("U+1F955 汉"));
        assert_eq!(find(query, "group").unwrap().as_deref(), Some("a/b"));
        assert_eq!(find(query, "ke").unwrap(), None);
        assert_eq!(find("key", "key").unwrap().as_deref(), Some(""));
        assert_eq!(find("", "key").unwrap(), None);
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_an_error() {
        assert!(find("key=%FF", "key").is_err());
    }
}
