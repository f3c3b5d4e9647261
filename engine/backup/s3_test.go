package backup

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"

	"cryptoserve/engine/secret"
)

var _ Target = (*S3)(nil)

const (
	testBucket    = "backups"
	testAccessKey = "AKIDTEST"
	testSecretKey = "walrus-secret-key"
)

// store is an S3 server in this process. It checks signatures, which the library behind it does not.
type store struct {
	server  *httptest.Server
	backend *s3mem.Backend
	// fault, if set, sees each request first, and tells whether it answered.
	fault atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

func newStore(t testing.TB, tls bool) *store {
	t.Helper()
	s := &store{backend: s3mem.New()}
	if err := s.backend.CreateBucket(testBucket); err != nil {
		t.Fatal(err)
	}
	inner := gofakes3.New(s.backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := refuse(r); code != "" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
			return
		}
		if f := s.fault.Load(); f != nil && (*f)(w, r) {
			return
		}
		inner.ServeHTTP(w, r)
	})
	s.server = httptest.NewUnstartedServer(handler)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if tls {
		s.server.StartTLS()
	} else {
		s.server.Start()
	}
	t.Cleanup(s.server.Close)
	return s
}

// during lets a fault happen to each request that fits until the test ends.
func (s *store) during(fits func(*http.Request) bool, do http.HandlerFunc) {
	f := func(w http.ResponseWriter, r *http.Request) bool {
		if !fits(r) {
			return false
		}
		do(w, r)
		return true
	}
	s.fault.Store(&f)
}

func (s *store) config() S3Config {
	return S3Config{
		Endpoint: s.server.URL, Bucket: testBucket, Prefix: "site-1/", AccessKey: testAccessKey,
		SecretKey: secret.New([]byte(testSecretKey)), PathStyle: true,
	}
}

func (s *store) target(t testing.TB, change ...func(*S3Config)) *S3 {
	t.Helper()
	c := s.config()
	for _, f := range change {
		f(&c)
	}
	target, err := NewS3(c)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// unfinishedUploads counts what costs space and nobody sees.
func unfinishedUploads(t testing.TB, s *S3) (n int) {
	t.Helper()
	for u := range s.core.ListIncompleteUploads(t.Context(), testBucket, "", true) {
		switch {
		case u.Err == nil:
			n++
		case minio.ToErrorResponse(u.Err).Code != minio.NoSuchUpload: // what this server says of none at all
			t.Fatal(u.Err)
		}
	}
	return n
}

// refuse checks the signature of a request (AWS Signature Version 4, header form) and returns the code of a refusal.
func refuse(r *http.Request) string {
	fields := map[string]string{}
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for _, f := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if scheme != "AWS4-HMAC-SHA256" || len(scope) != 5 {
		return "AccessDenied"
	}
	if scope[0] != testAccessKey {
		return "InvalidAccessKeyId"
	}
	var headers strings.Builder
	for _, name := range strings.Split(fields["SignedHeaders"], ";") {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	query := strings.Split(strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20"), "&")
	sort.Strings(query)
	canonical := strings.Join([]string{
		r.Method, r.URL.EscapedPath(), strings.Join(query, "&"), headers.String(), fields["SignedHeaders"], r.Header.Get("X-Amz-Content-Sha256"),
	}, "\n")
	hash := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{scheme, r.Header.Get("X-Amz-Date"), strings.Join(scope[1:], "/"), hex.EncodeToString(hash[:])}, "\n")
	key := []byte("AWS4" + testSecretKey)
	for _, part := range append(scope[1:], text) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(key)), []byte(fields["Signature"])) {
		return "SignatureDoesNotMatch"
	}
	return ""
}

func TestS3(t *testing.T) {
	s := newStore(t, false)
	target := s.target(t)
	conformance(t, target)
	if n := unfinishedUploads(t, target); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
	// Another prefix of the bucket is another place.
	other := s.target(t, func(c *S3Config) { c.Prefix = "site-2/" })
	if got := names(t, other); len(got) != 0 {
		t.Errorf("site-2 holds %v", got)
	}
	if got := names(t, s.target(t, func(c *S3Config) { c.Prefix = "" })); len(got) != 0 {
		t.Errorf("no prefix holds %v", got)
	}
}

func TestS3OverTLS(t *testing.T) {
	s := newStore(t, true)
	roots := x509.NewCertPool()
	roots.AddCert(s.server.Certificate())
	target := s.target(t, func(c *S3Config) { c.Roots = roots })
	mustPut(t, target, fileName(1), content(partBytes+5))
	if got := mustGet(t, target, fileName(1)); !bytes.Equal(got, content(partBytes+5)) {
		t.Fatalf("%d bytes", len(got))
	}
	stranger := s.target(t)
	if _, err := stranger.List(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("a server that nobody vouches for: %v", err)
	}
}

func TestS3ConfigRefuses(t *testing.T) {
	s := newStore(t, false)
	for name, change := range map[string]func(*S3Config){
		"no scheme":     func(c *S3Config) { c.Endpoint = "s3.example.org" },
		"no proof":      func(c *S3Config) { c.Endpoint = "http://s3.example.org" },
		"with a path":   func(c *S3Config) { c.Endpoint = "https://s3.example.org/bucket" },
		"with a user":   func(c *S3Config) { c.Endpoint = "https://a:b@s3.example.org" },
		"bucket":        func(c *S3Config) { c.Bucket = "a/b" },
		"no bucket":     func(c *S3Config) { c.Bucket = "" },
		"prefix":        func(c *S3Config) { c.Prefix = "../" },
		"prefix, open":  func(c *S3Config) { c.Prefix = "site-1" },
		"no access key": func(c *S3Config) { c.AccessKey = "" },
		"no secret key": func(c *S3Config) { c.SecretKey = secret.Bytes{} },
	} {
		c := s.config()
		change(&c)
		if _, err := NewS3(c); err == nil || strings.Contains(err.Error(), testSecretKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// eachCall makes every call and returns the errors.
func eachCall(ctx context.Context, s *S3) map[string]error {
	return map[string]error{
		"put":    s.Put(ctx, fileName(1), strings.NewReader("x")),
		"get":    second(s.Get(ctx, fileName(1))),
		"list":   second(s.List(ctx)),
		"delete": s.Delete(ctx, fileName(1)),
	}
}

func TestS3WrongCredentials(t *testing.T) {
	s := newStore(t, false)
	for name, change := range map[string]func(*S3Config){
		"secret key": func(c *S3Config) { c.SecretKey = secret.New([]byte("zebra-secret-key")) },
		"access key": func(c *S3Config) { c.AccessKey = "AKIDOTHER" },
	} {
		for call, err := range eachCall(t.Context(), s.target(t, change)) {
			if !errors.Is(err, ErrCredentials) || strings.Contains(err.Error(), "zebra") {
				t.Errorf("%s, %s: %v", name, call, err)
			}
		}
	}
}

func TestS3NoBucket(t *testing.T) {
	s := newStore(t, false)
	for call, err := range eachCall(t.Context(), s.target(t, func(c *S3Config) { c.Bucket = "elsewhere" })) {
		// A HEAD has no body to tell a bucket from an object.
		if !errors.Is(err, ErrNoTarget) && (call != "delete" || !errors.Is(err, ErrNotFound)) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func isPart(n string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == n }
}

// hangUp ends the connection after some bytes of the request.
func hangUp(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
	panic(http.ErrAbortHandler)
}

func TestS3ConnectionCutWhileStoring(t *testing.T) {
	for name, fits := range map[string]func(*http.Request) bool{
		"in the first part":  isPart("1"),
		"in the second part": isPart("2"),
		"at the end":         func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, false)
			target := s.target(t)
			s.during(fits, hangUp)
			if err := target.Put(t.Context(), fileName(1), bytes.NewReader(content(partBytes+1<<20))); err == nil {
				t.Fatal("it was stored")
			}
			if got := names(t, target); len(got) != 0 {
				t.Fatalf("a half backup is left: %v", got)
			}
			if n := unfinishedUploads(t, target); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
			s.fault.Store(nil)
			mustPut(t, target, fileName(1), content(partBytes+1<<20))
		})
	}
}

// TestS3CutOnceGoesOn: one cut connection is tried again and leaves no mark in what is stored.
func TestS3CutOnceGoesOn(t *testing.T) {
	s := newStore(t, false)
	target := s.target(t)
	var cuts atomic.Int32
	s.during(func(r *http.Request) bool { return isPart("2")(r) && cuts.Add(1) == 1 }, hangUp)
	want := content(partBytes + 1<<20)
	mustPut(t, target, fileName(1), want)
	if got := mustGet(t, target, fileName(1)); !bytes.Equal(got, want) || cuts.Load() < 2 {
		t.Fatalf("%d bytes after %d tries", len(got), cuts.Load())
	}
}

func TestS3ConnectionCutWhileReading(t *testing.T) {
	s := newStore(t, false)
	target := s.target(t)
	file, _ := mustWrite(t, testManifest(), content(1<<20))
	name := FileName(testManifest().ID)
	mustPut(t, target, name, file)
	s.during(func(r *http.Request) bool { return r.Method == http.MethodGet }, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		_, _ = w.Write(file[:len(file)/2])
		panic(http.ErrAbortHandler)
	})
	r, err := target.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// The network is to blame, not the backup.
	if _, _, err := readAll(r, testKey(7)); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "connection was cut") {
		t.Fatal(err)
	}
}

func TestS3SlowServer(t *testing.T) {
	for name, fits := range map[string]func(*http.Request) bool{
		"every request": func(*http.Request) bool { return true },
		"a part":        isPart("1"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, false)
			target := s.target(t)
			s.during(fits, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				select {
				case <-r.Context().Done():
				case <-time.After(5 * time.Second):
				}
				panic(http.ErrAbortHandler)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			if err := target.Put(ctx, fileName(1), bytes.NewReader(content(1<<20))); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			s.fault.Store(nil)
			if got := names(t, target); len(got) != 0 {
				t.Fatalf("a half backup is left: %v", got)
			}
			if n := unfinishedUploads(t, target); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

func TestS3ListsMoreThanAPage(t *testing.T) {
	s := newStore(t, false)
	target := s.target(t)
	var want []string
	for i := range 2345 {
		name := FileName(NewID(time.Date(2026, 1, 1, 0, i, 0, 0, time.UTC), [8]byte{byte(i >> 8), byte(i)}))
		want = append(want, name)
		for _, key := range []string{"site-1/" + name, "site-1/note-" + name} {
			if _, err := s.backend.PutObject(testBucket, key, nil, strings.NewReader("x"), 1, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	var pages atomic.Int32
	s.during(func(r *http.Request) bool {
		if r.Method == http.MethodGet {
			pages.Add(1)
		}
		return false
	}, nil)
	if got := names(t, target); !slices.Equal(got, want) {
		t.Fatalf("%d names of %d", len(got), len(want))
	}
	if pages.Load() < 3 {
		t.Errorf("%d pages: the test shows nothing", pages.Load())
	}
}

func TestS3AnswersOfTheStore(t *testing.T) {
	for code, c := range map[string]struct {
		status int
		want   error
	}{
		"QuotaExceeded":     {http.StatusConflict, ErrFull},
		"XMinioStorageFull": {http.StatusInsufficientStorage, ErrFull},
		"AccessDenied":      {http.StatusForbidden, ErrCredentials},
		"NoSuchBucket":      {http.StatusNotFound, ErrNoTarget},
	} {
		s := newStore(t, false)
		s.during(func(r *http.Request) bool { return r.Method == http.MethodPost }, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		})
		if err := s.target(t).Put(t.Context(), fileName(1), strings.NewReader("x")); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", code, err)
		}
	}
	if code := minio.ToErrorResponse(errors.New("x")).Code; code != "" {
		t.Errorf("the library gives %q to errors that are not the store's", code)
	}
}
