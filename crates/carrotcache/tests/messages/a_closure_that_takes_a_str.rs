// The compiler says: expected closure signature `fn(String) -> _`
// The compiler says: found closure signature `fn(&str) -> _`
// The compiler says: to implement `Loader`

use carrotcache::Node;

async fn find(key: &str) -> std::io::Result<Option<String>> {
    Ok(Some(key.to_owned()))
}

fn main() {
    let _ = Node::new().group("scores").loader(|key: &str| async move { find(key).await });
}
