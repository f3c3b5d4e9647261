package backup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"cryptoserve/engine/secret"
)

const (
	// partBytes is how much of a backup is in memory while it is stored; 10,000 parts are the most, so 156 GiB.
	partBytes = 16 << 20
	// attempts is how often a request is tried, and abortLimit how long the removal of a failed upload may take.
	attempts   = 3
	abortLimit = 10 * time.Second
	// defaultRegion is what stores that have no regions want in a signature.
	defaultRegion = "us-east-1"

	dialLimit   = 10 * time.Second
	answerLimit = time.Minute
)

// S3Config says where a bucket is and how this node gets in.
type S3Config struct {
	Endpoint string // https://host[:port]; http only to the node itself, since it proves no server
	Region   string // empty means us-east-1, which stores without regions want
	Bucket   string // exists already
	Prefix   string // of all names; empty means none
	// AccessKey and SecretKey sign requests. The target copies them.
	AccessKey string
	SecretKey secret.Bytes
	PathStyle bool           // https://host/bucket in place of https://bucket.host
	Roots     *x509.CertPool // which the certificate of the server must chain to; nil means those of the system
}

var (
	bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixPattern = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._=+-]*/)*$`)
)

// validate returns the host and whether it is reached by TLS.
func (c S3Config) validate() (host string, tls bool, err error) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", false, errors.New("the endpoint has not the form https://host:port")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return "", false, errors.New("the endpoint must begin with https://: without it nothing proves which server answers")
	case !bucketPattern.MatchString(c.Bucket):
		return "", false, fmt.Errorf("%q is not the name of a bucket", c.Bucket)
	case !prefixPattern.MatchString(c.Prefix):
		return "", false, fmt.Errorf("the prefix %q must be empty, or parts that each end in a slash, as in site-1/backups/", c.Prefix)
	case c.AccessKey == "" || c.SecretKey.Len() == 0:
		return "", false, errors.New("the access key or the secret key is missing")
	}
	return u.Host, u.Scheme == "https", nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// S3 keeps backups as objects of a bucket. It is a Target.
type S3 struct {
	core   minio.Core
	bucket string
	prefix string
	name   string
}

// NewS3 returns a target over a bucket. It does not call the server yet.
func NewS3(c S3Config) (*S3, error) {
	host, secure, err := c.validate()
	if err != nil {
		return nil, fmt.Errorf("backup: S3: %w", err)
	}
	lookup, region := minio.BucketLookupDNS, c.Region
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	if region == "" {
		region = defaultRegion // an empty one makes the library ask the server, which takes a right of its own
	}
	client, err := minio.New(host, &minio.Options{
		Creds:  credentials.NewStaticV4(c.AccessKey, string(c.SecretKey.Reveal()), ""),
		Secure: secure, Region: region, BucketLookup: lookup, MaxRetries: attempts,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dialLimit}).DialContext,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots},
			TLSHandshakeTimeout:   dialLimit,
			ResponseHeaderTimeout: answerLimit,
			IdleConnTimeout:       answerLimit,
			DisableCompression:    true,
			ForceAttemptHTTP2:     true,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("backup: S3: %w", err)
	}
	name := "bucket " + c.Bucket + " at " + c.Endpoint
	if c.Prefix != "" {
		name += ", prefix " + c.Prefix
	}
	return &S3{core: minio.Core{Client: client}, bucket: c.Bucket, prefix: c.Prefix, name: name}, nil
}

// String names endpoint, bucket and prefix.
func (s *S3) String() string { return s.name }

// Put implements Target. The store makes the object when the upload is completed, which it is after all was read; what a
// failed upload leaves is not visible and is removed.
func (s *S3) Put(ctx context.Context, name string, r io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	switch _, err := s.core.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{}); {
	case err == nil:
		return fmt.Errorf("backup: %w: %s", ErrExists, name)
	case minio.ToErrorResponse(err).Code != minio.NoSuchKey:
		return s.say(ctx, "look for a backup", err)
	}
	src := &source{ctx: ctx, r: r}
	_, err := s.core.Client.PutObject(ctx, s.bucket, s.prefix+name, src, -1, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: partBytes,
		DisableContentSha256: true, // TLS guards the way, and not every store knows the signature of a body in chunks
	})
	if err != nil {
		s.abort(ctx, name)
		return s.say(ctx, "store a backup", err)
	}
	info, err := s.core.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{})
	if err != nil {
		return s.say(ctx, "look at the stored backup", err)
	}
	if info.Size != src.read {
		return fmt.Errorf("backup: %s holds %d bytes of %s and not %d: delete it and look at the store's log", s.name, info.Size, name, src.read)
	}
	return nil
}

// abort removes the parts of a failed upload, which would cost space that nobody sees. The library does it too, but not
// when the context is what ended.
func (s *S3) abort(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
	defer cancel()
	_ = s.core.RemoveIncompleteUpload(ctx, s.bucket, s.prefix+name) // the error that matters is that of the upload
}

// Get implements Target.
func (s *S3) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	body, _, _, err := s.core.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, s.say(ctx, "read a backup", err)
	}
	return &object{body, s, ctx}, nil
}

// object is an object that is being read. A connection that is cut ends in an error that is not the end of the object.
type object struct {
	io.ReadCloser
	s   *S3
	ctx context.Context // lives as long as one Get
}

// Read implements io.Reader.
func (o *object) Read(p []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, o.s.say(o.ctx, "read a backup", err)
	}
	n, err := o.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a wrapped io.EOF is no end, but how a failure shows
		err = o.s.say(o.ctx, "read a backup", err)
	}
	return n, err
}

// List implements Target.
func (s *S3) List(ctx context.Context) ([]Item, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the library's goroutine when this returns early
	defer cancel()
	items := []Item{}
	for o := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + "backup_"}) {
		if o.Err != nil {
			return nil, s.say(ctx, "list the backups", o.Err)
		}
		if name := strings.TrimPrefix(o.Key, s.prefix); IDOf(name) != "" {
			items = append(items, Item{Name: name, Bytes: o.Size, Modified: o.LastModified.UTC()})
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return sorted(items), nil
}

// Delete implements Target.
func (s *S3) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	// The store answers the same whether there was an object or not.
	if _, err := s.core.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{}); err != nil {
		return s.say(ctx, "look for a backup", err)
	}
	if err := s.core.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{}); err != nil {
		return s.say(ctx, "delete a backup", err)
	}
	return nil
}

// say gives an error of the library its sentinel and a next step.
func (s *S3) say(ctx context.Context, what string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("backup: %s in %s: %w", what, s.name, ended)
	}
	if from := (sourceError{}); errors.As(err, &from) {
		return fmt.Errorf("backup: %w", from)
	}
	response := minio.ToErrorResponse(err)
	switch {
	case response.Code == minio.NoSuchKey:
		return fmt.Errorf("backup: %w in %s", ErrNotFound, s.name)
	case response.Code == minio.NoSuchBucket:
		return fmt.Errorf("backup: %w: make the bucket of %s, or name another one", ErrNoTarget, s.name)
	case response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden:
		return fmt.Errorf("backup: %w: %s in %s gave %s; check access key, secret key, region and the rights of the key",
			ErrCredentials, what, s.name, response.Code)
	case response.StatusCode == http.StatusInsufficientStorage || response.Code == "QuotaExceeded" ||
		response.Code == "XMinioStorageFull" || response.Code == "XMinioAdminBucketQuotaExceeded":
		return fmt.Errorf("backup: %w: free space in %s or keep fewer backups", ErrFull, s.name)
	case response.StatusCode != 0:
		return fmt.Errorf("backup: %s in %s: the store answered %d %s", what, s.name, response.StatusCode, response.Code)
	}
	return fmt.Errorf("backup: %s in %s: %w", what, s.name, unexpected(err))
}

// unexpected keeps the end of a connection from looking like the end of a file.
func unexpected(err error) error {
	if isEnd(err) {
		return errors.New("the connection was cut")
	}
	return err
}
