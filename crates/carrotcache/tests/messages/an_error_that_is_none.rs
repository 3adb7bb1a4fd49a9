// The compiler says: the trait bound `Failure: std::error::Error` is not satisfied
// The compiler says: to implement `Loader`

use carrotcache::Node;

struct Failure;

async fn find(_: String) -> Result<Option<String>, Failure> {
    Err(Failure)
}

fn main() {
    let _ = Node::new().group("scores").loader(find);
}
