//! The parameters of a request: `?key=Tom&group=scores`.

use std::str::Utf8Error;

use percent_encoding::percent_decode_str;

/// Returns the values of the parameters called `name` in a URL's query, in order.
///
/// Read as HTML forms and every HTTP client write it: a plus is a space, and a plus itself is `%2B`.
///
/// # Errors
///
/// Fails if a value is not UTF-8.
pub(crate) fn find_all(query: &str, name: &str) -> Result<Vec<String>, Utf8Error> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let found = pairs.filter(|(found, _)| decode(found).is_ok_and(|found| found == name));
    found.map(|(_, value)| decode(value)).collect()
}

fn decode(text: &str) -> Result<String, Utf8Error> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_decoded() {
        let query = "group=a%2Fb&key=U%2B1F955+%E6%B1%89&key=second";
        assert_eq!(find_all(query, "key").unwrap(), ["U+1F955 汉", "second"]);
        assert_eq!(find_all(query, "group").unwrap(), ["a/b"]);
        assert!(find_all(query, "ke").unwrap().is_empty());
        assert_eq!(find_all("key", "key").unwrap(), [""]);
        assert!(find_all("", "key").unwrap().is_empty());
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_an_error() {
        assert!(find_all("key=Tom&key=%FF", "key").is_err());
    }
}
