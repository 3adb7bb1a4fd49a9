//! Asks a node: for values, for changes of rows, and for what it has counted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// Longer than any answer takes: one that does not come is an error to be shown, not a hang.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Asks the HTTP interface of one node. A clone shares its connections.
#[derive(Clone)]
pub struct Api {
    address: String,
    client: Client,
}

impl Api {
    /// Returns one without connections yet.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made.
    pub fn new(address: String) -> Result<Self> {
        Ok(Self { address, client: Client::builder().timeout(ANSWER_TIME).build()? })
    }

    /// Returns `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the status and the body of the answer for a path with its query.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Vec<u8>)> {
        self.send(self.client.get(format!("http://{}{path}", self.address))).await
    }

    /// Returns the status and the body of the answer for a key.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn ask(&self, group: &str, key: &str) -> Result<(StatusCode, Vec<u8>)> {
        let request = self.client.get(format!("http://{}/api", self.address));
        self.send(request.query(&[("group", group), ("key", key)])).await
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    ///
    /// When the answer is another one or does not come.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn value(&self, group: &str, key: &str) -> Result<Vec<u8>> {
        let (status, body) = self.ask(group, key).await?;
        let text = || String::from_utf8_lossy(&body).trim().to_owned();
        ensure!(status.is_success(), "{} answers {status} for {key:?}: {}", self.address, text());
        Ok(body)
    }

    /// Writes a row; returns the status and the body of the answer.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the row may have been written or not.
    pub async fn put(&self, group: &str, key: &str, value: &str) -> Result<(StatusCode, Vec<u8>)> {
        let request = self.client.put(format!("http://{}/api", self.address));
        self.send(request.query(&[("group", group), ("key", key)]).body(value.to_owned())).await
    }

    /// Deletes a row; returns the status and the body of the answer.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the row may have been deleted or not.
    pub async fn delete(&self, group: &str, key: &str) -> Result<(StatusCode, Vec<u8>)> {
        let request = self.client.delete(format!("http://{}/api", self.address));
        self.send(request.query(&[("group", group), ("key", key)])).await
    }

    /// Returns what the node has counted since its start.
    ///
    /// # Errors
    ///
    /// When it does not answer with JSON.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn stats(&self) -> Result<Value> {
        let (status, body) = self.get("/stats").await?;
        ensure!(status.is_success(), "{} answers {status} for /stats", self.address);
        serde_json::from_slice(&body).with_context(|| format!("/stats of {}", self.address))
    }

    /// Returns a counter, such as `/main/items`, summed up over the groups.
    ///
    /// # Errors
    ///
    /// When the node does not answer, or has no such counter.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn count(&self, counter: &str) -> Result<u64> {
        sum(&self.stats().await?, counter)
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>)> {
        let answer = request.send().await?;
        Ok((answer.status(), answer.bytes().await?.into()))
    }
}

/// Sums a counter up over the groups of `/stats`.
///
/// # Errors
///
/// When a group has no such counter.
pub fn sum(stats: &Value, counter: &str) -> Result<u64> {
    let groups = stats["groups"].as_object().context("/stats has no groups")?;
    let counts = groups.values().map(|group| group.pointer(counter)?.as_u64());
    counts.sum::<Option<u64>>().with_context(|| format!("/stats has no {counter}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_counter_is_summed_up_over_the_groups() {
        let stats = json!({"groups": {"a": {"main": {"items": 2}}, "b": {"main": {"items": 3}}}});
        assert_eq!(sum(&stats, "/main/items").unwrap(), 5);
    }

    #[test]
    fn a_counter_that_is_missing_is_an_error_and_not_zero() {
        let stats = json!({"groups": {"a": {"gets": 1}, "b": {}}});
        assert_eq!(sum(&stats, "/gets").unwrap_err().to_string(), "/stats has no /gets");
        assert!(sum(&json!({}), "/gets").is_err());
    }
}
