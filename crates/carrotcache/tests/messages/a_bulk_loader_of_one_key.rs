// The compiler says: expected function signature `fn(Vec<String>) -> _`
// The compiler says: found function signature `fn(String) -> _`

use std::io;

use carrotcache::Node;

async fn find(_: String) -> io::Result<Option<String>> {
    Ok(None)
}

fn main() {
    let _ = Node::new().group("users").bulk_loader(find);
}
