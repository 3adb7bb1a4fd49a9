//! A private MariaDB server.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::server::{self, Login, Product};
use super::unprivileged;

/// Where the server's programs are.
pub(super) struct MariaDb {
    server: PathBuf,
    install: PathBuf,
    client: PathBuf,
}

impl MariaDb {
    /// Finds the programs.
    ///
    /// # Errors
    ///
    /// When one is missing; the error names the package that has it.
    pub(super) fn find() -> Result<Self> {
        let find = |name| {
            let places = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/local/mysql/bin"];
            server::find(name, places.map(PathBuf::from))
                .with_context(|| format!("cannot find `{name}` (Debian package mariadb-server)"))
        };
        Ok(Self {
            server: find("mariadbd")?,
            install: find("mariadb-install-db")?,
            client: find("mariadb")?,
        })
    }
}

impl Product for MariaDb {
    fn name(&self) -> &'static str {
        "MariaDB"
    }

    fn scheme(&self) -> &'static str {
        "mysql"
    }

    fn system_database(&self) -> &'static str {
        "mysql"
    }

    fn scores(&self) -> &'static str {
        "CREATE TABLE scores (`key` VARBINARY(1024) PRIMARY KEY, `value` LONGBLOB);
         INSERT INTO scores VALUES ('Tom', '630'), ('Jack', '589')"
    }

    fn first_port(&self) -> u16 {
        33_060
    }

    fn prepare(&self, folder: &Path, login: &Login) -> Result<()> {
        let data = folder.join("data");
        // Read at each start, before the first client is served.
        let sql = format!(
            "CREATE USER IF NOT EXISTS '{user}'@'{host}' IDENTIFIED BY '{password}';\n\
             GRANT ALL PRIVILEGES ON *.* TO '{user}'@'{host}';\n",
            user = login.user,
            host = Ipv4Addr::LOCALHOST,
            password = login.password,
        );
        std::fs::write(folder.join("start.sql"), sql)?;
        let mut install = unprivileged::command(&self.install);
        install.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        server::finish(install)
    }

    fn serve(&self, folder: &Path, port: u16) -> Command {
        let mut serve = unprivileged::command(&self.server);
        serve.arg("--no-defaults").arg(format!("--datadir={}", folder.join("data").display()));
        serve.arg(format!("--init-file={}", folder.join("start.sql").display()));
        serve.arg(format!("--socket={}", folder.join("socket").display()));
        serve.arg(format!("--bind-address={}", Ipv4Addr::LOCALHOST));
        serve.arg(format!("--port={port}"));
        // Clients are known by address.
        serve.arg("--skip-name-resolve");
        serve
    }

    async fn answers(&self, port: u16) -> bool {
        // The server speaks first, once it serves.
        let greeting = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            stream.read_u8().await
        };
        greeting.await.is_ok()
    }

    fn client(&self, port: u16, login: &Login, database: &str, sql: &str) -> Command {
        let mut client = Command::new(&self.client);
        client.arg("--no-defaults").arg(format!("--host={}", Ipv4Addr::LOCALHOST));
        client.arg(format!("--port={port}")).arg(format!("--user={}", login.user));
        client.env("MYSQL_PWD", login.password).arg(format!("--execute={sql}")).arg(database);
        client
    }

    fn crash(&self, _: &Path) -> Option<Command> {
        None
    }
}
