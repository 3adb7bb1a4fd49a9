// The compiler says: expected function signature `fn(String) -> _`
// The compiler says: found function signature `fn(&str) -> _`
// The compiler says: help: consider wrapping the function in a closure

use carrotcache::Node;

async fn find(key: &str) -> std::io::Result<Option<String>> {
    Ok(Some(key.to_owned()))
}

fn main() {
    let _ = Node::new().group("scores").loader(find);
}
