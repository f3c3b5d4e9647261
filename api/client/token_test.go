package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cryptoserve/api/wire"
)

// tokenServer is the refresh endpoint with rotation and reuse detection, as an http.RoundTripper so that it can live
// under a test's own clock. A refresh takes effect at once, and its answer a second.
type tokenServer struct {
	mu      sync.Mutex
	newest  int // number of the refresh token that works
	calls   int
	life    time.Duration
	failing int // status to refuse with; 0 serves
}

func (s *tokenServer) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.handle(r)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(time.Second):
		return answer, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func (s *tokenServer) handle(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	var req wire.RefreshRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, err
	}
	recorder := newRecorder()
	switch {
	case s.failing != 0:
		recorder.problem(s.failing)
	case req.RefreshToken != fmt.Sprintf("refresh-%d", s.newest):
		s.failing = http.StatusUnauthorized // the family is revoked
		recorder.problem(http.StatusUnauthorized)
	default:
		s.newest++
		recorder.json(wire.RefreshResponse{
			AccessToken:  fmt.Sprintf("access-%d", s.newest),
			ExpiresAt:    time.Now().Add(s.life).UTC().Format(time.RFC3339),
			RefreshToken: fmt.Sprintf("refresh-%d", s.newest),
		})
	}
	return recorder.Result(), nil
}

func (s *tokenServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *tokenServer) fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = status
}

// jwtUntil is a token that ends at the given time. Its signature is of no interest to a client.
func jwtUntil(end time.Time) string {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, end.Unix()))
	return "e30." + claims + ".c2ln"
}

// newRefresher returns a Refresher that starts with refresh-0 and the saved refresh tokens in order.
func newRefresher(t *testing.T, server *tokenServer, access string) (*Refresher, *[]string) {
	t.Helper()
	c, err := New(Config{Server: "https://node"})
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = server
	var saved []string
	r, err := NewRefresher(RefresherConfig{
		Client: c, RefreshToken: "refresh-0", AccessToken: access,
		Rotated: func(answer wire.RefreshResponse) { saved = append(saved, answer.RefreshToken) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, &saved
}

func wantToken(t *testing.T, r *Refresher, want string) {
	t.Helper()
	if got, err := r.Token(t.Context()); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestRefresherKeepsTokenFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &tokenServer{life: time.Hour}
		first := jwtUntil(time.Now().Add(time.Hour))
		r, saved := newRefresher(t, server, first)

		wantToken(t, r, first)
		time.Sleep(55*time.Minute - time.Second)
		wantToken(t, r, first)
		if server.count() != 0 {
			t.Errorf("%d refreshes more than 5 minutes before the end, want 0", server.count())
		}
		time.Sleep(time.Second)
		wantToken(t, r, "access-1")
		wantToken(t, r, "access-1")
		time.Sleep(56 * time.Minute)
		wantToken(t, r, "access-2")
		if server.count() != 2 || fmt.Sprint(*saved) != "[refresh-1 refresh-2]" {
			t.Errorf("%d refreshes, saved %v", server.count(), *saved)
		}
	})
}

func TestRefresherIsSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &tokenServer{life: time.Hour}
		r, saved := newRefresher(t, server, "")
		var wg sync.WaitGroup
		var good atomic.Int32
		for range 50 {
			wg.Go(func() {
				if token, err := r.Token(t.Context()); err == nil && token == "access-1" {
					good.Add(1)
				}
			})
		}
		wg.Wait()
		if good.Load() != 50 || server.count() != 1 || len(*saved) != 1 {
			t.Errorf("%d good tokens of %d refreshes, saved %v", good.Load(), server.count(), *saved)
		}
	})
}

// TestRefreshSurvivesItsCaller: the answer to a refresh holds the only refresh token that still works, so a caller that
// gives up must not take it away.
func TestRefreshSurvivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &tokenServer{life: time.Hour}
		r, saved := newRefresher(t, server, "")
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := r.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		wantToken(t, r, "access-1")
		if server.count() != 1 || len(*saved) != 1 {
			t.Errorf("%d refreshes, saved %v", server.count(), *saved)
		}
	})
}

func TestRefresherRidesOutFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &tokenServer{life: time.Hour, failing: http.StatusServiceUnavailable}
		first := jwtUntil(time.Now().Add(4 * time.Minute))
		r, _ := newRefresher(t, server, first)

		wantToken(t, r, first)
		wantToken(t, r, first)
		if server.count() != 1 {
			t.Errorf("%d refreshes at once after a failure, want 1", server.count())
		}
		time.Sleep(refreshPause)
		wantToken(t, r, first)
		if server.count() != 2 {
			t.Errorf("%d refreshes after the pause, want 2", server.count())
		}
		time.Sleep(4 * time.Minute)
		var problem *Error
		if _, err := r.Token(t.Context()); !errors.As(err, &problem) || problem.Status != 503 {
			t.Errorf("got %v after the end of the token, want the problem", err)
		}
		server.fail(0)
		wantToken(t, r, "access-1")
	})
}

func TestRefresherStopsWhenRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &tokenServer{life: time.Hour, newest: 7} // refresh-0 was used long ago
		r, saved := newRefresher(t, server, "")
		for range 3 {
			var problem *Error
			if _, err := r.Token(t.Context()); !errors.As(err, &problem) || problem.Status != http.StatusUnauthorized {
				t.Errorf("got %v, want the 401", err)
			}
		}
		if server.count() != 1 || len(*saved) != 0 {
			t.Errorf("%d refreshes, saved %v; want 1 and none", server.count(), *saved)
		}
	})
}

func TestRefresherRefusesDeadTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRefresher(t, &tokenServer{life: -time.Hour}, "")
		if _, err := r.Token(t.Context()); !errors.Is(err, ErrNoToken) {
			t.Errorf("got %v, want ErrNoToken", err)
		}
	})
}

func TestTokenEnd(t *testing.T) {
	encode := base64.RawURLEncoding.EncodeToString
	tests := []struct {
		name, token string
		want        int64 // seconds; 0: counts as ended
	}{
		{"JWT", "e30." + encode([]byte(`{"exp":1700000000}`)) + ".c2ln", 1700000000},
		{"with a fraction", "e30." + encode([]byte(`{"exp":1700000000.9}`)) + ".c2ln", 1700000000},
		{"no exp", "e30." + encode([]byte(`{}`)) + ".c2ln", 0},
		{"absurd exp", "e30." + encode([]byte(`{"exp":1e300}`)) + ".c2ln", 0},
		{"negative exp", "e30." + encode([]byte(`{"exp":-5}`)) + ".c2ln", 0},
		{"two parts", "e30." + encode([]byte(`{"exp":1700000000}`)), 0},
		{"no base64", "e30.!!.c2ln", 0},
		{"no JSON", "e30." + encode([]byte(`exp`)) + ".c2ln", 0},
		{"empty", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tokenEnd(tt.token)
			if tt.want == 0 && !got.IsZero() || tt.want != 0 && got.Unix() != tt.want {
				t.Errorf("got %v, want %d", got, tt.want)
			}
		})
	}
}

func TestRefresherConfig(t *testing.T) {
	c, err := New(Config{Server: "https://node"})
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]RefresherConfig{
		"no client":        {RefreshToken: "r"},
		"no refresh token": {Client: c},
	} {
		if _, err := NewRefresher(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
