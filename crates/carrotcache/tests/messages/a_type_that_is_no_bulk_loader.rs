// The compiler says: `Users` is not a bulk loader
// The compiler says: neither a closure that a group can call nor a type that implements `BulkLoader`
// The compiler says: note: a closure: `|keys: Vec<String>| async move { Ok::<_, MyError>(values) }`

use carrotcache::Node;

struct Users;

fn main() {
    let _ = Node::new().group("users").bulk_loader(Users);
}
