// The compiler says: to be a future that resolves to `Result<Option<_>, _>`, but it resolves to `Result<String,
// The compiler says: to implement `Loader`

use carrotcache::Node;

async fn find(key: &str) -> std::io::Result<String> {
    Ok(key.to_owned())
}

fn main() {
    let _ = Node::new().group("scores").loader(|key: String| async move { find(&key).await });
}
