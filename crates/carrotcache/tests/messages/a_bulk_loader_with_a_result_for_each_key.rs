// The compiler says: `Result<String, std::fmt::Error>` is not what a bulk loader has for a key
// The compiler says: neither bytes nor text, nor `Loaded`
// The compiler says: note: an error of one key alone is told by `Loaded::from(result)`

use std::collections::HashMap;
use std::io;

use carrotcache::Node;

async fn find(_: Vec<String>) -> io::Result<HashMap<String, Result<String, std::fmt::Error>>> {
    Ok(HashMap::new())
}

fn main() {
    let _ = Node::new().group("users").bulk_loader(find);
}
