// The compiler says: ` is not a future
// The compiler says: to implement `Loader`

use carrotcache::Node;

fn find(key: String) -> std::io::Result<Option<String>> {
    Ok(Some(key))
}

fn main() {
    let _ = Node::new().group("scores").loader(find);
}
