package client

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cryptoserve/api/wire"
)

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

func jsonLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

func encrypt(ctx context.Context, c *Client) error {
	_, err := c.Encrypt(ctx, wire.EncryptRequest{Plaintext: []byte("p"), Context: "default"})
	return err
}

func decrypt(ctx context.Context, c *Client) error {
	_, err := c.Decrypt(ctx, wire.DecryptRequest{Ciphertext: []byte("c"), Context: "default"})
	return err
}

func rotate(ctx context.Context, c *Client) error {
	_, err := c.Rotate(ctx, "default")
	return err
}

func refresh(ctx context.Context, c *Client) error {
	_, err := c.Refresh(ctx, "r1")
	return err
}

// TestRetryOfProblems has a server that refuses once and then answers.
func TestRetryOfProblems(t *testing.T) {
	tests := []struct {
		name      string
		call      func(context.Context, *Client) error
		status    int
		code      string
		retryable bool
		wantTries int32
	}{
		{"encrypt, token away", encrypt, 503, "hsm-unavailable", true, 2},
		{"decrypt, token away", decrypt, 503, "hsm-unavailable", true, 2},
		{"encrypt, over the limit", encrypt, 429, "rate-limited", true, 2},
		{"encrypt, forbidden", encrypt, 403, "forbidden", false, 1},
		{"encrypt, broken for good", encrypt, 503, "unavailable", false, 1},
		{"decrypt, failed", decrypt, 400, "decrypt-failed", false, 1},
		{"rotate, over the limit", rotate, 429, "rate-limited", true, 2},
		{"rotate, outcome unknown", rotate, 503, "ledger-unavailable", true, 1},
		{"refresh, over the limit", refresh, 429, "rate-limited", true, 2},
		{"refresh, outcome unknown", refresh, 503, "audit-unavailable", true, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tries.Add(1) == 1 {
					refuse(t, w, tt.status, tt.code, tt.retryable)
					return
				}
				answer(t, w, 200, "application/json", struct{}{})
			})
			err := tt.call(t.Context(), c)
			if tries.Load() != tt.wantTries {
				t.Errorf("%d tries, want %d", tries.Load(), tt.wantTries)
			}
			var problem *Error
			if refused := errors.As(err, &problem); refused != (tt.wantTries == 1) || refused && problem.Code != tt.code {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestRetryOfBrokenConnections has a server that reads a request, hangs up without an answer and then serves.
func TestRetryOfBrokenConnections(t *testing.T) {
	tests := []struct {
		name      string
		call      func(context.Context, *Client) error
		wantTries int32
	}{
		{"encrypt", encrypt, 2},
		{"decrypt", decrypt, 2},
		{"rotate", rotate, 1},
		{"refresh", refresh, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			c, server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tries.Add(1) == 1 {
					panic(http.ErrAbortHandler)
				}
				answer(t, w, 200, "application/json", struct{}{})
			})
			server.Config.ErrorLog = discard()
			err := tt.call(t.Context(), c)
			if tries.Load() != tt.wantTries {
				t.Errorf("%d tries, want %d", tries.Load(), tt.wantTries)
			}
			var connect *ConnectError
			if broken := errors.As(err, &connect); broken != (tt.wantTries == 1) || broken && !connect.Sent {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestRetryOfFailedDial has a server that cannot be reached at first: nothing was sent, so everything may be repeated.
func TestRetryOfFailedDial(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Client) error{
		"encrypt": encrypt, "decrypt": decrypt, "rotate": rotate, "refresh": refresh,
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				answer(t, w, 200, "application/json", struct{}{})
			})
			transport, ok := c.http.Transport.(*http.Transport)
			if !ok {
				t.Fatal("not an *http.Transport")
			}
			var dials atomic.Int32
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 1 {
					return nil, errors.New("connection refused")
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			if err := call(t.Context(), c); err != nil {
				t.Error(err)
			}
			if dials.Load() != 2 {
				t.Errorf("%d dials, want 2", dials.Load())
			}
		})
	}
}

// answers is an http.RoundTripper that gives the same answer each time, for tests with a clock of their own.
type answers struct {
	status     int
	retryAfter string
	tries      []time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.tries = append(a.tries, time.Now())
	header := http.Header{"Content-Type": {ProblemType}}
	if a.retryAfter != "" {
		header.Set("Retry-After", a.retryAfter)
	}
	body := `{"code":"rate-limited","retryable":true,"status":` + strconv.Itoa(a.status) + `}`
	return &http.Response{
		StatusCode: a.status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

func TestPauses(t *testing.T) {
	tests := []struct {
		name       string
		retry      Retry
		retryAfter func(now time.Time) string
		want       [][2]time.Duration // least and longest pause before each further try
	}{
		{
			name:  "doubling up to the bound",
			retry: Retry{Attempts: 6, MinWait: time.Second, MaxWait: 5 * time.Second},
			want: [][2]time.Duration{
				{500 * time.Millisecond, time.Second}, {time.Second, 2 * time.Second}, {2 * time.Second, 4 * time.Second},
				{2500 * time.Millisecond, 5 * time.Second}, {2500 * time.Millisecond, 5 * time.Second},
			},
		},
		{
			name:  "default",
			retry: Retry{},
			want: [][2]time.Duration{
				{50 * time.Millisecond, 100 * time.Millisecond}, {100 * time.Millisecond, 200 * time.Millisecond},
				{200 * time.Millisecond, 400 * time.Millisecond},
			},
		},
		{
			name:       "Retry-After in seconds",
			retry:      Retry{Attempts: 2},
			retryAfter: func(time.Time) string { return "3" },
			want:       [][2]time.Duration{{3 * time.Second, 3 * time.Second}},
		},
		{
			name:       "Retry-After as a date",
			retry:      Retry{Attempts: 2},
			retryAfter: func(now time.Time) string { return now.Add(4 * time.Second).UTC().Format(http.TimeFormat) },
			want:       [][2]time.Duration{{3 * time.Second, 4 * time.Second}},
		},
		{
			name:       "Retry-After in the past",
			retry:      Retry{Attempts: 2},
			retryAfter: func(now time.Time) string { return now.Add(-time.Hour).UTC().Format(http.TimeFormat) },
			want:       [][2]time.Duration{{50 * time.Millisecond, 100 * time.Millisecond}},
		},
		{
			name:       "Retry-After beyond our patience",
			retry:      Retry{},
			retryAfter: func(time.Time) string { return "6" },
		},
		{
			name:       "Retry-After that is none",
			retry:      Retry{Attempts: 2},
			retryAfter: func(time.Time) string { return "soon" },
			want:       [][2]time.Duration{{50 * time.Millisecond, 100 * time.Millisecond}},
		},
		{name: "one attempt", retry: Retry{Attempts: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := New(Config{Server: "https://node", Token: StaticToken("t"), Retry: tt.retry})
				if err != nil {
					t.Fatal(err)
				}
				server := &answers{status: 429}
				if tt.retryAfter != nil {
					server.retryAfter = tt.retryAfter(time.Now())
				}
				c.http.Transport = server
				var problem *Error
				if err := encrypt(t.Context(), c); !errors.As(err, &problem) {
					t.Fatalf("got %v", err)
				}
				if len(server.tries) != len(tt.want)+1 {
					t.Fatalf("%d tries, want %d", len(server.tries), len(tt.want)+1)
				}
				for i, want := range tt.want {
					if got := server.tries[i+1].Sub(server.tries[i]); got < want[0] || got > want[1] {
						t.Errorf("pause %d is %v, want %v to %v", i+1, got, want[0], want[1])
					}
				}
			})
		})
	}
}

func TestContextEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{Server: "https://node", Token: StaticToken("t")})
		if err != nil {
			t.Fatal(err)
		}
		c.http.Transport = &answers{status: 429, retryAfter: "5"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err = encrypt(ctx, c)
		var problem *Error
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &problem) {
			t.Errorf("got %v, want both the deadline and the last problem", err)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %v, want 1s", waited)
		}
	})
}

// hang is an http.RoundTripper that never answers.
type hang struct{ tries int }

func (h *hang) RoundTrip(r *http.Request) (*http.Response, error) {
	h.tries++
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTimeoutBoundsEachTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{
			Server: "https://node", Token: StaticToken("t"), Timeout: 7 * time.Second,
			Retry: Retry{Attempts: 3, MinWait: time.Nanosecond, MaxWait: time.Nanosecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		server := &hang{}
		c.http.Transport = server
		start := time.Now()
		err = encrypt(t.Context(), c)
		var connect *ConnectError
		if !errors.As(err, &connect) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start).Round(time.Second); server.tries != 3 || took != 21*time.Second {
			t.Errorf("%d tries in %v, want 3 in 21s", server.tries, took)
		}
	})
}
