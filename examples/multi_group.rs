//! One node, two groups: each has a loader, a key space and a budget of its own.
//!
//! ```text
//! cargo run --example multi_group
//! ```

use std::convert::Infallible;

use carrotcache::{Group, Node};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let node = Node::new();
    // Small values that all fit.
    let names = node
        .group("names")
        .max_bytes(1 << 20)
        .loader(async |id: String| Ok::<_, Infallible>(Some(format!("user {id}"))))
        .build()?;
    // Large values, of which a few fit. They can push out each other, but never a name.
    let avatars = node.group("avatars").max_bytes(256 << 10).loader(draw).build()?;

    for id in 0..100 {
        let id = id.to_string();
        let name = names.get(&id).await?;
        let avatar = avatars.get(&id).await?;
        // The same key means something else in each group.
        assert_ne!(name, avatar);
    }
    node.groups().iter().for_each(print);

    let found = node.find("names").map(|group| group.name().to_owned());
    println!("a group is found by its name, as peers do it: {found:?}");
    Ok(())
}

/// Stands for something that takes long and is large.
async fn draw(id: String) -> Result<Option<Vec<u8>>, Infallible> {
    Ok(Some(id.repeat(16 << 10).into_bytes()))
}

fn print(group: &Group) {
    let (name, stats) = (group.name(), group.stats());
    let (kept, evicted) = (stats.main.items, stats.main.evictions);
    println!("{name}: {kept} kept in {} bytes, {evicted} evicted", stats.bytes);
}
