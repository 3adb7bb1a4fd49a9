package main

import (
	"crypto/subtle"
	"net/http"
)

// secretHeader is what carrotcache's nodes know each other by, if they have a secret.
const secretHeader = "Carrotcache-Secret"

// withSecret is a transport for groupcache's pool that sends the secret along.
type withSecret struct {
	secret string
	next   http.RoundTripper
}

// RoundTrip sends a copy: a transport must not change the request that it is given.
func (t withSecret) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(secretHeader, t.secret)
	return t.next.RoundTrip(r)
}

// behindSecret is next for who sends the secret, and 401 for who does not. Without
// a secret it is next for all.
func behindSecret(secret string, next http.Handler) http.Handler {
	if secret == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told := r.Header.Get(secretHeader)
		if subtle.ConstantTimeCompare([]byte(told), []byte(secret)) != 1 {
			http.Error(w, "the header carrotcache-secret is missing or wrong", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
