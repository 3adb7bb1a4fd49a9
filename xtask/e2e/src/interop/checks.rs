//! What is claimed of a mixed ring, and how it is found out.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::time::Instant;

use super::data::{self, Entry};
use super::member::Kind;
use super::mixed::Mixed;

/// How long a large value may take to cross.
const LARGE_TIME: Duration = Duration::from_secs(10);

/// Every member is asked for every row.
pub(super) async fn values_are_right(mixed: &Mixed) -> Result<String> {
    let everyone: Vec<_> = (0..mixed.members.len()).collect();
    let questions = mixed.questions(&mixed.rows, &everyone);
    mixed.ask_all(&questions).await?;
    let (asked, rows) = (questions.len(), mixed.rows.len());
    let left_out = rows * everyone.len() - asked;
    // See `Entry::crosses`.
    let why = "Go's server breaks a Go client's spaces, and groups with a slash";
    Ok(format!("{asked} gets of {rows} keys ({left_out} left out: {why})"))
}

/// Each row was loaded once, by the member that our ring says owns it.
pub(super) async fn everyone_agrees_on_owners(mixed: &Mixed) -> Result<String> {
    let mut shares = Vec::new();
    for (at, member) in mixed.members.iter().enumerate() {
        let (owned, loaded) = (mixed.owned(&mixed.rows, at), member.count("local_loads").await?);
        ensure!(loaded == owned, "{} owns {owned} keys and loaded {loaded}", member.url);
        shares.push(format!("{:?} {loaded}", member.kind));
    }
    let total = mixed.count("local_loads").await?;
    ensure!(total == mixed.rows.len() as u64, "{total} loads of {} keys", mixed.rows.len());
    Ok(format!("{total} loads: {}", shares.join(", ")))
}

/// No member failed to reach another, and no load failed.
pub(super) async fn nobody_erred(mixed: &Mixed) -> Result<String> {
    for member in &mixed.members {
        for counter in ["peer_errors", "local_load_errs"] {
            let errors = member.count(counter).await?;
            ensure!(errors == 0, "{} has {errors} {counter}:\n{}", member.url, member.output());
        }
    }
    Ok(format!("{} answers from peers", mixed.count("peer_loads").await?))
}

/// Keys of each kind were among those for which a Go node asked a Rust node.
pub(super) fn go_asks_rust_for_every_kind(mixed: &Mixed) -> Result<String> {
    let of_rust = |row: &&Entry| mixed.members[mixed.owner(&row.key)].kind == Kind::Rust;
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
        for asker in 0..mixed.members.len() {
            let (from, to) = (mixed.members[owner].kind, mixed.members[asker].kind);
            if from == to {
                continue;
            }
            let start = Instant::now();
            mixed.members[asker].ask(row).await?;
            let time = start.elapsed();
            ensure!(time < LARGE_TIME, "{from:?} to {to:?} took {time:?}");
            found.push(format!("{from:?} to {to:?} {} ms", time.as_millis()));
        }
    }
    let errors = mixed.count("peer_errors").await?;
    ensure!(errors == 0, "{errors} peer_errors");
    Ok(found.join(", "))
}

/// A member dies; the members of the other kind answer on without an error.
pub(super) async fn others_go_on(mixed: &mut Mixed, dead: usize) -> Result<String> {
    let survivors = survivors(mixed, dead);
    mixed.member_mut(dead)?.kill().await?;
    let before = errors_of(mixed, &survivors).await?;
    let mut questions = mixed.questions(&mixed.rows, &survivors);
    questions.extend(mixed.questions(&mixed.while_down, &survivors));
    mixed.ask_all(&questions).await?;
    let fell_back = errors_of(mixed, &survivors).await? - before;
    ensure!(fell_back > 0, "nobody tried to ask the dead node");
    Ok(format!("{} gets, {fell_back} times the dead node was tried", questions.len()))
}

/// The member is back; the others ask it for keys that they have not seen meanwhile.
pub(super) async fn keys_return(mixed: &mut Mixed, dead: usize) -> Result<String> {
    mixed.member_mut(dead)?.start().await?;
    let survivors = survivors(mixed, dead);
    let before = errors_of(mixed, &survivors).await?;
    let questions = mixed.questions(&mixed.when_back, &survivors);
    mixed.ask_all(&questions).await?;
    let errors = errors_of(mixed, &survivors).await? - before;
    ensure!(errors == 0, "{errors} times it could not be asked");
    let (owned, member) = (mixed.owned(&mixed.when_back, dead), &mixed.members[dead]);
    let loaded = member.count("local_loads").await?;
    ensure!(loaded == owned && owned > 0, "it owns {owned} new keys and loaded {loaded}");
    Ok(format!("{} gets, it loaded its {loaded} new keys", questions.len()))
}

/// A key that is no UTF-8, which Rust refuses: a Go node that asks for it still has its value.
pub(super) async fn no_text_stays_in_go(mixed: &Mixed) -> Result<String> {
    let key: String = data::NOT_UTF_8.iter().map(|byte| format!("%{byte:02x}")).collect();
    for member in &mixed.members {
        let answer = member.ask_escaped(&key).await;
        match (member.kind, answer) {
            (Kind::Go, answer) => {
                let right = answer? == data::NOT_UTF_8_VALUE.as_bytes();
                ensure!(right, "{} has wrong bytes", member.url);
            }
            (Kind::Rust, Ok(_)) => bail!("{} has a value for it", member.url),
            (Kind::Rust, Err(error)) => {
                ensure!(error.to_string().contains("400"), "{}: {error:#}", member.url);
            }
        }
    }
    Ok("Go has its value, Rust says 400".to_owned())
}

/// Returns the running members of the kind that the dead one is not.
fn survivors(mixed: &Mixed, dead: usize) -> Vec<usize> {
    let kind = mixed.members[dead].kind;
    (0..mixed.members.len()).filter(|&at| mixed.members[at].kind != kind).collect()
}

async fn errors_of(mixed: &Mixed, members: &[usize]) -> Result<u64> {
    let mut total = 0;
    for &at in members {
        total += mixed.members[at].count("peer_errors").await?;
    }
    Ok(total)
}
