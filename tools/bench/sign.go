package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

const (
	signPath = "/api/v1/crypto/sign"
	hashPath = "/api/v1/crypto/hash"
	// messageBytes is what is signed, and hashed.
	messageBytes = 256
	// signMode is the daemon that signatures are measured with: the usual audit.
	signMode = "strict"
	// tokenAlgorithm is what is measured in the token.
	tokenAlgorithm = "ECDSA-P256"
)

// libraries sign with a new key by calling what the daemon calls, and nothing else. The daemon's algorithm names.
var libraries = []struct {
	algorithm string
	bytes     int // of a signature, at least
	signer    func() (func(message []byte) error, error)
}{
	{"Ed25519", ed25519.SignatureSize, func() (func([]byte) error, error) {
		_, key, err := ed25519.GenerateKey(nil)
		return func(message []byte) error {
			ed25519.Sign(key, message)
			return nil
		}, err
	}},
	{"ECDSA-P256", 60, func() (func([]byte) error, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return func(message []byte) error {
			digest := sha256.Sum256(message)
			_, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
			return err
		}, err
	}},
	{"ML-DSA-65", mldsa65.SignatureSize, func() (func([]byte) error, error) {
		_, key, err := mldsa65.GenerateKey(rand.Reader)
		return func(message []byte) error {
			return mldsa65.SignTo(key, message, nil, true, make([]byte, mldsa65.SignatureSize))
		}, err
	}},
}

// signResult is the part of the report about signatures.
type signResult struct {
	hash  *row // the request that does not sign
	keys  []*signRow
	token *tokenResult
}

// signRow is a key of an algorithm, whose private half is in the daemon's memory.
type signRow struct {
	algorithm string
	request   *row
	library   []slice
	sign      func(message []byte) error
}

// ratio is the request's time by the sum of the library's and of the request that does not sign.
func (s *signRow) ratio(hash *row) float64 {
	each := make([]float64, min(len(s.request.slices), len(s.library), len(hash.slices)))
	for i := range each {
		each[i] = 1 / s.request.slices[i].perSecond() / (1/s.library[i].perSecond() + 1/hash.slices[i].perSecond())
	}
	return median(each)
}

// tokenResult is a key in the token. The raw times are of the benchmarks of package hsm.
type tokenResult struct {
	request *row
	raw     map[string][]float64 // nanoseconds, by one of the names below
}

// The benchmarks of package hsm for tokenAlgorithm: C_SignInit and C_Sign alone by a key that is loaded for good; the same
// with the check of each signature; what the engine calls, one at a time and from all processors.
const (
	rawSign         = "raw"
	checkedSign     = "checked"
	keyringSign     = "keyring"
	keyringParallel = "keyring/parallel"
)

var tokenBenchmarks = []string{rawSign, checkedSign, keyringSign, keyringParallel}

// ratio is the rate of the requests by the rate of a benchmark.
func (t *tokenResult) ratio(name string) float64 {
	each := make([]float64, min(len(t.request.slices), len(t.raw[name])))
	for i := range each {
		each[i] = t.request.slices[i].perSecond() * t.raw[name][i] / 1e9
	}
	return median(each)
}

func (b *bench) measureSign(ctx context.Context, r *report) error {
	s := b.daemons[signMode]
	message := plaintext(messageBytes)
	hash, err := hashLoad(s, message)
	if err != nil {
		return err
	}
	result := &signResult{hash: &row{load: hash}, token: &tokenResult{raw: map[string][]float64{}}}
	for _, library := range libraries {
		l, err := signLoad(ctx, s, library.algorithm, "host", message, library.bytes)
		if err != nil {
			return err
		}
		sign, err := library.signer()
		if err != nil {
			return err
		}
		result.keys = append(result.keys, &signRow{algorithm: library.algorithm, request: &row{load: l}, sign: sign})
	}
	token, err := signLoad(ctx, s, tokenAlgorithm, "hsm", message, 60)
	if err != nil {
		return err
	}
	result.token.request = &row{load: token}
	raw, err := b.compile(ctx, "hsm")
	if err != nil {
		return err
	}
	r.sign = result
	return b.interleave(ctx, "sign", func(ctx context.Context, counts bool, length time.Duration) error {
		if err := result.hash.take(ctx, b.connections, length, counts); err != nil {
			return err
		}
		for _, key := range result.keys {
			if err := key.request.take(ctx, b.connections, length, counts); err != nil {
				return err
			}
			s, err := atOnce(ctx, b.connections, length, func() error { return key.sign(message) })
			if err != nil {
				return fmt.Errorf("%s: %w", key.algorithm, err)
			}
			if counts {
				key.library = append(key.library, s)
			}
		}
		if err := result.token.request.take(ctx, b.connections, length, counts); err != nil {
			return err
		}
		return result.token.takeRaw(ctx, raw, length, counts)
	})
}

func (t *tokenResult) takeRaw(ctx context.Context, p *packageBench, length time.Duration, counts bool) error {
	times, err := p.run(ctx, "^BenchmarkSignDigest$/^"+tokenAlgorithm+"$/.", length/2)
	if err != nil {
		return err
	}
	for _, name := range tokenBenchmarks {
		nanoseconds := times["SignDigest/"+tokenAlgorithm+"/"+name]
		if nanoseconds == 0 {
			return fmt.Errorf("hsm has no benchmark SignDigest/%s/%s", tokenAlgorithm, name)
		}
		if counts {
			t.raw[name] = append(t.raw[name], nanoseconds)
		}
	}
	return nil
}

// atOnce calls f from that many goroutines for the given time, as requests come from connections, so that both share the
// processors alike.
func atOnce(ctx context.Context, workers int, length time.Duration, f func() error) (slice, error) {
	latencies, errs := make([][]time.Duration, workers), make([]error, workers)
	var wg sync.WaitGroup
	begin := time.Now()
	end := begin.Add(length)
	for i := range workers {
		wg.Go(func() {
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
				if errs[i] = f(); errs[i] != nil {
					return
				}
				then := time.Now()
				latencies[i] = append(latencies[i], then.Sub(now))
				now = then
			}
		})
	}
	wg.Wait()
	s := slice{elapsed: time.Since(begin), latencies: slices.Concat(latencies...)}
	return s, errors.Join(append(errs, ctx.Err())...)
}

// hashLoad asks for the digest of a message.
func hashLoad(s *server, message []byte) (*load, error) {
	req, err := request(s, hashPath, wire.HashRequest{Data: message, Algorithm: "SHA-256"})
	if err != nil {
		return nil, err
	}
	want := sha256.Sum256(message)
	return &load{server: s, request: req, check: func(body []byte) error {
		var answer wire.HashResponse
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if !slices.Equal(answer.Digest, want[:]) {
			return errors.New("the digest is not the message's")
		}
		return nil
	}}, nil
}

// signLoad makes a key and asks for signatures of at least so many bytes.
func signLoad(ctx context.Context, s *server, algorithm, protection string, message []byte, least int) (*load, error) {
	name := strings.ToLower("bench-" + protection + "-" + algorithm)
	if err := createKey(ctx, s, wire.CreateKeyRequest{
		Name: name, Context: benchContext, Algorithm: algorithm, Purpose: "sign", Protection: protection,
	}); err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	req, err := request(s, signPath, wire.SignRequest{Key: name, Message: message})
	if err != nil {
		return nil, err
	}
	return &load{server: s, request: req, check: func(body []byte) error { return checkSignature(body, algorithm, least) }}, nil
}

func checkSignature(body []byte, algorithm string, least int) error {
	var answer wire.SignResponse
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if answer.Algorithm != algorithm || len(answer.Signature) < least {
		return fmt.Errorf("a signature of %d bytes by %q, want at least %d by %s", len(answer.Signature), answer.Algorithm, least, algorithm)
	}
	return nil
}

func createKey(ctx context.Context, s *server, req wire.CreateKeyRequest) error {
	c, err := client.New(client.Config{Server: "https://" + s.address, Roots: s.tls.RootCAs, Token: client.StaticToken(s.owner)})
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	_, err = c.CreateKey(ctx, req)
	return err
}
