package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/golang/groupcache"
)

// node is one groupcache process: its pool of peers and its groups.
type node struct {
	cfg    config
	store  *store
	pool   *groupcache.HTTPPool
	groups map[string]*groupcache.Group
}

func newNode(cfg config, s *store) *node {
	pool := groupcache.NewHTTPPoolOpts(cfg.addr, nil)
	transport := http.DefaultTransport
	if cfg.idleConns > 0 {
		own := transport.(*http.Transport).Clone()
		own.MaxIdleConnsPerHost = cfg.idleConns
		transport = own
	}
	if cfg.secret != "" {
		transport = withSecret{secret: cfg.secret, next: transport}
	}
	pool.Transport = func(context.Context) http.RoundTripper { return transport }
	pool.Set(cfg.peers...)
	n := &node{cfg: cfg, store: s, pool: pool, groups: make(map[string]*groupcache.Group)}
	for _, name := range s.groups() {
		n.groups[name] = groupcache.NewGroup(name, cfg.maxBytes, getterOf(s, name))
	}
	return n
}

// getterOf reads group from s. A missing key is an error in Go's groupcache,
// which knows no other way to say so.
func getterOf(s *store, group string) groupcache.Getter {
	return groupcache.GetterFunc(
		func(_ context.Context, key string, dest groupcache.Sink) error {
			value, err := s.find(group, key)
			if err != nil {
				return err
			}
			return dest.SetBytes(value)
		})
}

func (n *node) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api", n.serveValue)
	mux.HandleFunc("/stats", n.serveStats)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	return mux
}

func (n *node) serveValue(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	key, name := query.Get("key"), query.Get("group")
	if name == "" {
		name = "scores"
	}
	group := n.groups[name]
	switch {
	case key == "":
		http.Error(w, "the parameter key is missing or empty", http.StatusBadRequest)
		return
	case group == nil:
		http.Error(w, fmt.Sprintf("no group %q", name), http.StatusNotFound)
		return
	}
	var value []byte
	err := group.Get(r.Context(), key, groupcache.AllocatingByteSliceSink(&value))
	switch {
	case errors.Is(err, errNoSuchKey):
		http.Error(w, fmt.Sprintf("no key %q in group %q", key, name), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(value)
	}
}

// serveStats writes groupcache's counters under the names of the Rust node.
func (n *node) serveStats(w http.ResponseWriter, _ *http.Request) {
	groups := make(map[string]interface{}, len(n.groups))
	for name, group := range n.groups {
		groups[name] = groupStats(group)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]interface{}{
		"groups":     groups,
		"db_queries": atomic.LoadInt64(&n.store.queries),
	})
}

func groupStats(g *groupcache.Group) map[string]interface{} {
	return map[string]interface{}{
		"gets":            g.Stats.Gets.Get(),
		"cache_hits":      g.Stats.CacheHits.Get(),
		"peer_loads":      g.Stats.PeerLoads.Get(),
		"peer_errors":     g.Stats.PeerErrors.Get(),
		"loads":           g.Stats.Loads.Get(),
		"loads_deduped":   g.Stats.LoadsDeduped.Get(),
		"local_loads":     g.Stats.LocalLoads.Get(),
		"local_load_errs": g.Stats.LocalLoadErrs.Get(),
		"server_requests": g.Stats.ServerRequests.Get(),
		"main":            cacheStats(g.CacheStats(groupcache.MainCache)),
		"hot":             cacheStats(g.CacheStats(groupcache.HotCache)),
	}
}

func cacheStats(s groupcache.CacheStats) map[string]int64 {
	return map[string]int64{
		"bytes":     s.Bytes,
		"items":     s.Items,
		"gets":      s.Gets,
		"hits":      s.Hits,
		"evictions": s.Evictions,
	}
}
