//! Every example of this package, started as a process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::db::Database;

/// How long an example may run; a machine that compiles is slow.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns a command for an example, which cargo builds before it runs these tests.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().expect("this program has a path");
    let built: PathBuf = tests.ancestors().nth(2).expect("target").join("examples").join(name);
    assert!(
        built.is_file(),
        "{built:?} is missing: run `cargo test -p examples`, without `--test`"
    );
    let mut command = Command::new(built);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs an example to its end, which must be a good one, and returns what it printed.
async fn output(mut command: Command) -> String {
    let output = timeout(LIMIT, command.output()).await.expect("it ends by itself");
    let output = output.expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Returns the base URL of a port that is free now.
async fn free_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    format!("http://{}", listener.local_addr().expect("it has an address"))
}

/// Waits for the first line that a process prints.
async fn first_line(child: &mut Child) -> String {
    let stdout = child.stdout.as_mut().expect("it is piped");
    let line = timeout(LIMIT, BufReader::new(stdout).lines().next_line()).await;
    line.expect("it prints in time").expect("it prints text").expect("it prints a line")
}

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.expect("it answers");
    (answer.status().as_u16(), answer.text().await.expect("it answers in full"))
}

#[tokio::test]
async fn custom_transport_ends_by_itself() {
    assert!(!output(example("custom_transport")).await.is_empty());
}

#[tokio::test]
async fn multi_group_keeps_the_budgets_apart() {
    let printed = output(example("multi_group")).await;
    assert!(printed.contains("names: 100 kept"), "{printed}");
    assert!(printed.contains("avatars:") && !printed.contains("avatars: 100 kept"), "{printed}");
}

#[tokio::test]
async fn embedded_cluster_goes_on_without_a_node() {
    let printed = output(example("embedded_cluster")).await;
    assert_eq!(printed.matches(" loaded ").count(), 3, "{printed}");
    assert_eq!(printed.matches(" did without: ").count(), 2, "{printed}");
}

#[tokio::test]
async fn tls_cluster_shares_among_its_own_and_refuses_a_stranger() {
    let printed = output(example("tls_cluster")).await;
    assert_eq!(printed.matches("in TLS").count(), 3, "{printed}");
    assert!(printed.contains("the stranger was refused"), "{printed}");
}

#[tokio::test]
async fn sql_users_reads_its_own_writes() {
    let printed = output(example("sql_users")).await;
    // Once for the twenty, and once after the rename.
    assert_eq!(printed.matches("(query: 1)").count(), 2, "{printed}");
    // As it is now, and by its version; the old version is gone.
    assert_eq!(printed.matches("name: \"Thomas\"").count(), 2, "{printed}");
    assert!(!printed.contains("name: \"Tom\""), "{printed}");
    assert!(printed.contains("5 queries for 24 gets"), "{printed}");
}

/// An `axum_app` that runs: where people ask it, and where peers do.
struct App {
    process: Child,
    people: String,
    peers: String,
}

impl App {
    async fn start(addr: &str, peers: &str) -> App {
        let mut app = example("axum_app");
        let app = app.args(["--api", "127.0.0.1:0", "--addr", addr, "--peers", peers]);
        let mut process = app.spawn().expect("it starts");
        let line = first_line(&mut process).await;
        let people = line.split(' ').find(|word| word.starts_with("http://"));
        let people = people.expect("it says where people ask").to_owned();
        App { process, people, peers: addr.to_owned() }
    }

    async fn end(mut self) {
        terminate(&self.process);
        let ended = timeout(LIMIT, self.process.wait()).await.expect("it ends");
        let ended = ended.expect("it was started");
        assert!(ended.success(), "{ended}");
    }
}

#[tokio::test]
async fn axum_app_serves_people_and_peers_each_at_their_own_listener() {
    let addresses = [free_url().await, free_url().await];
    let peers = addresses.join(",");
    let apps = [App::start(&addresses[0], &peers).await, App::start(&addresses[1], &peers).await];
    for name in ["Tom", "Jack", "Sam", "Lily", "a%2Fb"] {
        let from_each = [
            get(&format!("{}/greeting/{name}", apps[0].people)).await,
            get(&format!("{}/greeting/{name}", apps[1].people)).await,
        ];
        assert_eq!(from_each[0], from_each[1], "{name}");
    }
    let greeting = get(&format!("{}/greeting/Tom", apps[1].people)).await;
    assert!(greeting.0 == 200, "{greeting:?}");
    let json: serde_json::Value = serde_json::from_str(&greeting.1).expect("it is JSON");
    assert_eq!(json["text"], "Good morning, Tom!");
    assert_eq!(get(&format!("{}/greeting/Nobody", apps[0].people)).await.0, 404);
    assert_eq!(get(&format!("{}/readyz", apps[0].people)).await.0, 200);

    const KEY: &str = "_groupcache/greetings/Tom";
    let for_peers = get(&format!("{}/{KEY}", apps[0].peers)).await;
    assert!(for_peers.0 == 200 && for_peers.1.contains("Good morning, Tom!"), "{for_peers:?}");
    assert_eq!(
        get(&format!("{}/{KEY}", apps[0].people)).await.0,
        404,
        "people reached a peer's key"
    );
    for app in apps {
        app.end().await;
    }
}

/// Asks a process to end, as a supervisor does.
fn terminate(child: &Child) {
    let id = child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
    let id = id.expect("it runs");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it can be signalled");
}

#[tokio::test]
async fn import_makes_a_database_of_any_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (text, file) = (folder.path().join("data.txt"), folder.path().join("data.db"));
    let lines = concat!(
        r#""my group/1"	"tab\x09nl\nnul\x00 \"q\" \\ 汉"	"\x00\xff""#,
        "\n",
        r#""scores"	"Tom"	"630""#,
        "\n"
    );
    std::fs::write(&text, lines).expect("it is written");
    let mut import = example("import");
    import.arg(&text).arg(&file);
    assert!(output(import).await.starts_with("2 rows"));
    let url = format!("sqlite:{}", file.display());
    let database = Database::open(&url, Duration::ZERO).await.expect("it opens");
    let value =
        database.query("my group/1", "tab\tnl\nnul\0 \"q\" \\ 汉").await.expect("it is asked");
    assert_eq!(value.as_deref(), Some(&b"\0\xff"[..]));
}

#[tokio::test]
async fn import_names_the_line_that_it_cannot_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("data.txt");
    for line in ["Tom\t630", "\"a\"\t\"b\"", "\"a\"\t\"b\"\t\"c\"\t\"d\"", r#""a"	"b"	"\xz1""#] {
        std::fs::write(&text, format!("\"a\"\t\"b\"\t\"c\"\n{line}\n")).expect("it is written");
        let file = tempfile::tempdir().expect("a folder");
        let mut import = example("import");
        let ended =
            import.arg(&text).arg(file.path().join("x.db")).output().await.expect("it starts");
        assert!(!ended.status.success(), "{line} was taken");
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(errors.contains("line 2"), "{errors}");
    }
}

#[tokio::test]
async fn peer_load_counts_what_fails() {
    let (own, absent) = (free_url().await, free_url().await);
    let mut load = example("peer_load");
    load.args(["--addr", &own, "--peers", &format!("{own},{absent}"), "--load-gets", "100"]);
    let mut load = load.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = load.stdin.take().expect("it is piped");
    stdin.write_all(b"\n").await.expect("it reads");
    drop(stdin);
    let printed = timeout(LIMIT, load.wait_with_output()).await.expect("it ends").expect("it runs");
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.contains("\n100 100 "), "{printed}");
}
