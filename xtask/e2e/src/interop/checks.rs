//! What is claimed of a mixed ring, and how it is found out.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::data::{self, Entry};
use super::kind::Kind;
use super::links;
use super::mixed::{Mixed, ask};

/// How long a large value may take to cross.
const LARGE_TIME: Duration = Duration::from_secs(10);

/// Every node is asked for every row.
pub(super) async fn values_are_right(mixed: &Mixed) -> Result<String> {
    let everyone: Vec<_> = (0..mixed.nodes.len()).collect();
    let questions = mixed.questions(&mixed.rows, &everyone);
    mixed.ask_all(&questions).await?;
    let (asked, rows) = (questions.len(), mixed.rows.len());
    let left_out = rows * everyone.len() - asked;
    // See `Entry::crosses`.
    let why = "Go's server breaks a Go client's spaces, and groups with a slash";
    Ok(format!("{asked} gets of {rows} keys ({left_out} left out: {why})"))
}

/// Each row was loaded once, by the node that our ring says owns it.
pub(super) async fn everyone_agrees_on_owners(mixed: &Mixed) -> Result<String> {
    let mut shares = Vec::new();
    for (at, node) in mixed.nodes.iter().enumerate() {
        let owned = mixed.owned(&mixed.rows, at);
        let loaded = node.api().count("/local_loads").await?;
        ensure!(loaded == owned, "{} owns {owned} keys and loaded {loaded}", node.name());
        shares.push(format!("{:?} {loaded}", mixed.kinds[at]));
    }
    let total = mixed.count("/local_loads").await?;
    ensure!(total == mixed.rows.len() as u64, "{total} loads of {} keys", mixed.rows.len());
    Ok(format!("{total} loads: {}", shares.join(", ")))
}

/// No node failed to reach another, and no load failed.
pub(super) async fn nobody_erred(mixed: &Mixed) -> Result<String> {
    for node in &mixed.nodes {
        for counter in ["/peer_errors", "/local_load_errs"] {
            let errors = node.api().count(counter).await?;
            ensure!(errors == 0, "{} has {errors} {counter}:\n{}", node.name(), node.output());
        }
    }
    Ok(format!("{} answers from peers", mixed.count("/peer_loads").await?))
}

/// Keys of each kind were among those for which a Go node asked a Rust node.
pub(super) fn go_asks_rust_for_every_kind(mixed: &Mixed) -> Result<String> {
    let of_rust = |row: &&Entry| mixed.kinds[mixed.owner(&row.key)] == Kind::Rust;
    for rows in mixed.rows.chunk_by(|one, other| one.kind == other.kind) {
        let crossed = rows.iter().filter(of_rust).count();
        ensure!(crossed > 0, "no key like {:?} belongs to a Rust node", rows[0].key);
    }
    let crossed = mixed.rows.iter().filter(of_rust).count();
    Ok(format!("{crossed} keys, with blanks, +, /, %, 汉字, 🥕 and more"))
}

/// A value far larger than any buffer crosses from each kind to the other.
pub(super) async fn large_values_cross(mixed: &Mixed) -> Result<String> {
    let mut found = Vec::new();
    for (owner, row) in mixed.large.iter().enumerate() {
        for asker in 0..mixed.nodes.len() {
            let (from, to) = (mixed.kinds[owner], mixed.kinds[asker]);
            if from == to {
                continue;
            }
            let start = Instant::now();
            ask(mixed.nodes[asker].api(), row).await?;
            let time = start.elapsed();
            ensure!(time < LARGE_TIME, "{from:?} to {to:?} took {time:?}");
            found.push(format!("{from:?} to {to:?} {} ms", time.as_millis()));
        }
    }
    let errors = mixed.count("/peer_errors").await?;
    ensure!(errors == 0, "{errors} peer_errors");
    Ok(found.join(", "))
}

/// A node dies; the others answer on without an error.
pub(super) async fn others_go_on(mixed: &mut Mixed, dead: usize) -> Result<String> {
    let survivors = survivors(mixed, dead);
    mixed.nodes[dead].kill().await?;
    let before = errors_of(mixed, &survivors).await?;
    let mut questions = mixed.questions(&mixed.rows, &survivors);
    questions.extend(mixed.questions(&mixed.while_down, &survivors));
    mixed.ask_all(&questions).await?;
    let fell_back = errors_of(mixed, &survivors).await? - before;
    ensure!(fell_back > 0, "nobody tried to ask the dead node");
    Ok(format!("{} gets, {fell_back} times the dead node was tried", questions.len()))
}

/// The node is back; the others ask it for keys that they have not seen meanwhile.
pub(super) async fn keys_return(mixed: &mut Mixed, dead: usize) -> Result<String> {
    mixed.nodes[dead].start().await?;
    links::ours_ask_again(mixed, dead).await?;
    let survivors = survivors(mixed, dead);
    let before = errors_of(mixed, &survivors).await?;
    let loaded = mixed.nodes[dead].api().count("/local_loads").await?;
    let questions = mixed.questions(&mixed.when_back, &survivors);
    mixed.ask_all(&questions).await?;
    let errors = errors_of(mixed, &survivors).await? - before;
    ensure!(errors == 0, "{errors} times it could not be asked");
    let owned = mixed.owned(&mixed.when_back, dead);
    let loaded = mixed.nodes[dead].api().count("/local_loads").await? - loaded;
    ensure!(loaded == owned && owned > 0, "it owns {owned} new keys and loaded {loaded}");
    Ok(format!("{} gets, it loaded its {loaded} new keys", questions.len()))
}

/// A key that is no UTF-8, which Rust refuses: a Go node that asks for it still has its value.
pub(super) async fn keys_that_are_no_text_stay_in_go(mixed: &Mixed) -> Result<String> {
    let key: String = data::NOT_UTF_8.iter().map(|byte| format!("%{byte:02x}")).collect();
    for (node, kind) in mixed.nodes.iter().zip(&mixed.kinds) {
        let (status, body) = node.api().get(&format!("/api?key={key}")).await?;
        let expected = match kind {
            Kind::Go => status == 200 && body == data::NOT_UTF_8_VALUE.as_bytes(),
            Kind::Rust => status == 400,
        };
        ensure!(expected, "{} answers {status} with {} bytes", node.name(), body.len());
    }
    Ok("Go has its value, Rust says 400".to_owned())
}

/// Returns the nodes that run while one is dead.
fn survivors(mixed: &Mixed, dead: usize) -> Vec<usize> {
    (0..mixed.nodes.len()).filter(|&at| at != dead).collect()
}

async fn errors_of(mixed: &Mixed, nodes: &[usize]) -> Result<u64> {
    let mut total = 0;
    for &at in nodes {
        total += mixed.nodes[at].api().count("/peer_errors").await?;
    }
    Ok(total)
}
