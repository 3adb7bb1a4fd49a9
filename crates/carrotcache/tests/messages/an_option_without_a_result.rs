// The compiler says: to be a future that resolves to `Result<Option<_>, _>`, but it resolves to `Option<String>`
// The compiler says: to implement `Loader`

use carrotcache::Node;

async fn find(key: &str) -> Option<String> {
    Some(key.to_owned())
}

fn main() {
    let _ = Node::new().group("scores").loader(|key: String| async move { find(&key).await });
}
