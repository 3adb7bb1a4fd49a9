// The compiler says: `Table` is not a loader
// The compiler says: neither a closure that a group can call nor a type that implements `Loader`
// The compiler says: note: a closure: `|key: String| async move { Ok::<_, MyError>(Some(value)) }`
// The compiler says: note: a type with state of its own: `impl Loader for MyType`, with an `async fn load`

use carrotcache::Node;

struct Table;

fn main() {
    let _ = Node::new().group("scores").loader(Table);
}
