//! A private PostgreSQL server.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::server::{self, Login, Product};
use super::unprivileged;

/// Where the server's programs are.
pub(super) struct Postgres {
    programs: PathBuf,
}

impl Postgres {
    /// Finds the programs, of the newest version if there are several.
    ///
    /// # Errors
    ///
    /// When they are missing; the error names the package that has them.
    pub(super) fn find() -> Result<Self> {
        let initdb = server::find("initdb", folders()?)
            .context("cannot find `initdb` (Debian package postgresql)")?;
        let programs = initdb.parent().context("initdb is in no folder")?.to_owned();
        Ok(Self { programs })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

/// Returns the folders in which distributions keep the server, newest version first.
fn folders() -> Result<Vec<PathBuf>> {
    let mut versions = Vec::new();
    let versioned = Path::new("/usr/lib/postgresql");
    if versioned.is_dir() {
        for entry in std::fs::read_dir(versioned)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            versions.push((name.parse::<f64>().unwrap_or(0.0), path.join("bin")));
        }
    }
    versions.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut folders: Vec<_> = versions.into_iter().map(|(_, folder)| folder).collect();
    folders.push("/usr/local/pgsql/bin".into());
    Ok(folders)
}

impl Product for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn scheme(&self) -> &'static str {
        "postgres"
    }

    fn system_database(&self) -> &'static str {
        "postgres"
    }

    fn scores(&self) -> &'static str {
        "CREATE TABLE scores (key TEXT PRIMARY KEY, value BYTEA);
         INSERT INTO scores VALUES ('Tom', '630'), ('Jack', '589')"
    }

    fn first_port(&self) -> u16 {
        54_320
    }

    fn prepare(&self, folder: &Path, login: &Login) -> Result<()> {
        let password = folder.join("password");
        std::fs::write(&password, login.password)?;
        let mut init = unprivileged::command(self.program("initdb"));
        init.arg("--pgdata").arg(folder.join("data")).arg("--pwfile").arg(password);
        init.args(["--username", login.user, "--auth", "scram-sha-256"]);
        init.args(["--encoding", "UTF8", "--no-locale", "--no-sync"]);
        server::finish(init)
    }

    fn serve(&self, folder: &Path, port: u16) -> Command {
        let mut serve = unprivileged::command(self.program("postgres"));
        serve.arg("-D").arg(folder.join("data")).arg("-p").arg(port.to_string());
        let sockets = format!("unix_socket_directories={}", folder.display());
        let address = format!("listen_addresses={}", Ipv4Addr::LOCALHOST);
        // The extension counts queries. Nothing here needs to survive the machine.
        let count = "shared_preload_libraries=pg_stat_statements";
        for setting in [&*sockets, &address, count, "fsync=off"] {
            serve.args(["-c", setting]);
        }
        serve
    }

    async fn answers(&self, port: u16) -> bool {
        let mut ask = tokio::process::Command::new(self.program("pg_isready"));
        ask.args(["--quiet", "--host", "127.0.0.1", "--port", &port.to_string()]);
        ask.stdout(Stdio::null()).stderr(Stdio::null());
        ask.status().await.is_ok_and(|status| status.success())
    }

    fn client(&self, port: u16, login: &Login, database: &str, sql: &str) -> Command {
        let mut client = Command::new(self.program("psql"));
        client.args(["--no-psqlrc", "--quiet", "--host", "127.0.0.1", "--username", login.user]);
        client.args(["--port", &port.to_string(), "--set", "ON_ERROR_STOP=1"]);
        client.args(["--dbname", database, "--command", sql]).env("PGPASSWORD", login.password);
        client
    }

    fn crash(&self, folder: &Path) -> Option<Command> {
        // Killed outright, the server would leave processes behind that hinder the next start.
        let mut stop = unprivileged::command(self.program("pg_ctl"));
        stop.args(["stop", "--silent", "--mode", "immediate", "--pgdata"]);
        stop.arg(folder.join("data"));
        Some(stop)
    }
}
