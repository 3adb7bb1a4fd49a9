// The compiler says: `Option<String>` is not what a bulk loader has for a key
// The compiler says: one that is not there is left out

use std::io;

use carrotcache::Node;

async fn find(_: Vec<String>) -> io::Result<Vec<(String, Option<String>)>> {
    Ok(Vec::new())
}

fn main() {
    let _ = Node::new().group("users").bulk_loader(find);
}
