//! A Redis server of our own, with values in it.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::aio::MultiplexedConnection;
use redis::{Client, cmd};

/// A `redis-server` on a free port of the loopback interface, which keeps nothing. It ends with this.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a server; `None` if the program is not there.
    pub(crate) async fn start() -> Result<Option<Self>> {
        // Free a moment ago; if another takes it meanwhile, the server says so and the start fails.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn();
        let process = match process {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            process => process.context("redis-server")?,
        };
        let mut server = Self { process, address };
        while server.connect().await.is_err() {
            if let Some(status) = server.process.try_wait()? {
                bail!("redis-server ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Some(server))
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the connection that its users share, as they do in a process.
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection> {
        let client = Client::open(format!("redis://{}", self.address))?;
        Ok(client.get_multiplexed_async_connection().await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that cannot be killed has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Gives each key a value.
pub(crate) async fn fill(
    mut connection: MultiplexedConnection,
    values: impl Iterator<Item = (&str, String)>,
) -> Result<()> {
    for (key, value) in values {
        cmd("SET").arg(key).arg(value).query_async::<()>(&mut connection).await?;
    }
    Ok(())
}

/// Returns the length of the value of `key`.
pub(crate) async fn get(mut connection: MultiplexedConnection, key: &str) -> Result<usize> {
    let value: Vec<u8> = cmd("GET").arg(key).query_async(&mut connection).await?;
    Ok(value.len())
}

/// Returns the length of all values of `keys`, asked for at once.
pub(crate) async fn get_batch(
    mut connection: MultiplexedConnection,
    keys: &[&str],
) -> Result<usize> {
    let values: Vec<Vec<u8>> = cmd("MGET").arg(keys).query_async(&mut connection).await?;
    Ok(values.iter().map(Vec::len).sum())
}
