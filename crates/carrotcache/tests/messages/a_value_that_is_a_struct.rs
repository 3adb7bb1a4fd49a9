// The compiler says: `User` is not a value that a cache can keep
// The compiler says: neither bytes nor text
// The compiler says: note: a loader returns `Vec<u8>`, `String`, `&'static str`, `Bytes`, `Value` or the like
// The compiler says: note: encode other types in the loader, for example by `serde_json::to_vec`, or write `impl From<MyType> for Value`

use carrotcache::Node;

struct User;

async fn find(_: String) -> std::io::Result<Option<User>> {
    Ok(Some(User))
}

fn main() {
    let _ = Node::new().group("users").loader(find);
}
