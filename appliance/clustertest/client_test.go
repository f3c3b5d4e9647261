package clustertest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCallerSendsOnce asks a server that reads each second request and then drops the connection, which makes net/http try again by itself
// when it may.
func TestCallerSendsOnce(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		t.Run(method, func(t *testing.T) {
			var mu sync.Mutex
			seen := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				mu.Lock()
				seen++
				drop := seen%2 == 0
				mu.Unlock()
				if drop {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(http.StatusNoContent)
			}))
			defer s.Close()
			c := NewCaller(nil, time.Second)
			defer c.Close()
			for i := range 10 {
				var body any
				if method != http.MethodGet && i%4 < 2 {
					body = map[string]string{"a": "b"}
				}
				want := OK
				if i%2 == 1 {
					want = Unknown
				}
				if r := c.Do(t.Context(), method, s.URL, "", body); r.Answer().Outcome != want || !r.Sent {
					t.Errorf("request %d: %+v, want %v", i, r, want)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if seen != 10 {
				t.Errorf("the server saw %d requests, want 10", seen)
			}
		})
	}
}

func TestReplyTellsWhatIsKnown(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(300 * time.Millisecond)
		case "/denied":
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"code":"forbidden"}`))
		case "/sealed":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"code":"hsm-unavailable"}`))
		case "/made":
			if r.Header.Get("Authorization") != "Bearer me" || r.Header.Get("Content-Type") != "application/json" {
				w.WriteHeader(http.StatusBadRequest)
			}
		}
	}))
	defer s.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := "http://" + gone.Addr().String()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	c := NewCaller(nil, 100*time.Millisecond)
	defer c.Close()
	tests := map[string]Answer{
		s.URL + "/made":   {Outcome: OK, Detail: "200"},
		s.URL + "/denied": {Outcome: Refused, Detail: "403 forbidden"},
		s.URL + "/sealed": {Outcome: Unknown, Detail: "503 hsm-unavailable"},
		s.URL + "/slow":   {Outcome: Unknown, Detail: "no answer in time"},
		nowhere:           {Outcome: Refused, Detail: "no connection"},
	}
	for url, want := range tests {
		if got := c.Do(t.Context(), http.MethodPost, url, "me", struct{}{}).Answer(); got != want {
			t.Errorf("%s: %+v, want %+v", strings.TrimPrefix(url, s.URL), got, want)
		}
	}
}
