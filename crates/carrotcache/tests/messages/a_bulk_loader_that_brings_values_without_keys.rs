// The compiler says: type mismatch resolving
// The compiler says: expected `(String, _)`, found `String`

use std::io;

use carrotcache::Node;

async fn find(_: Vec<String>) -> io::Result<Vec<String>> {
    Ok(Vec::new())
}

fn main() {
    let _ = Node::new().group("users").bulk_loader(find);
}
