package engine

import (
	"context"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/hash"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/password"
	"cryptoserve/engine/policy"
)

// What follows uses no key of the appliance: it computes with what the request holds.

// ComputeResult is a value that was computed.
type ComputeResult struct {
	Value     []byte
	Algorithm string
	Warnings  []string
}

// Hash returns the digest of data. The algorithm may be empty for SHA-256, the output 0 for the usual length.
func (e *Engine) Hash(_ context.Context, c *Call, algorithm string, data []byte, outputBytes int) (ComputeResult, error) {
	r := c.begin(policy.Hash)
	r.In = len(data)
	if algorithm == "" {
		algorithm = string(algs.SHA256)
	}
	return e.compute(c, &r, policy.Hash, algorithm, func(row algs.Row) ([]byte, error) {
		return hash.Sum(row.Name, data, outputBytes)
	}, algs.ClassHash)
}

// DeriveKey derives a key from a secret or a password of the request.
func (e *Engine) DeriveKey(ctx context.Context, c *Call, algorithm string, params *kdf.Params) (ComputeResult, error) {
	r := c.begin(policy.DeriveKey)
	r.In = len(params.Secret)
	return e.compute(c, &r, policy.DeriveKey, algorithm, func(row algs.Row) ([]byte, error) {
		if e.fips == algs.Enabled && !kdf.Approved(row.Name, params) {
			if err := kdf.Check(row.Name, params); err != nil {
				return nil, err
			}
			return nil, fault.New(fault.AlgorithmNotApproved, "engine.kdf",
				"the parameters are not approved, and FIPS mode is enabled: SP 800-131A asks for 14 bytes of secret and output, SP 800-132 for 16 of salt")
		}
		return kdf.Derive(ctx, row.Name, params)
	}, algs.ClassKDF, algs.ClassPassword)
}

// compute does what computations without a key share.
func (e *Engine) compute(
	c *Call, r *audit.Record, action policy.Action, algorithm string, work func(algs.Row) ([]byte, error), classes ...algs.Class,
) (ComputeResult, error) {
	out, err := func() (ComputeResult, error) {
		if err := e.authorizeFree(c, action); err != nil {
			return ComputeResult{}, err
		}
		row, err := e.lookup(algorithm, classes...)
		if err != nil {
			return ComputeResult{}, err
		}
		r.Algorithm = string(row.Name)
		value, err := work(row)
		if err == nil {
			err = e.stillFree(c, action)
		}
		return ComputeResult{Value: value, Algorithm: string(row.Name), Warnings: e.warnings(row)}, err
	}()
	r.Out = len(out.Value)
	if err := e.finish(c, r, err); err != nil {
		clear(out.Value)
		return ComputeResult{}, err
	}
	return out, nil
}

// PasswordResult holds the string to store.
type PasswordResult struct {
	Hash      string
	Algorithm string
	Warnings  []string
}

// HashPassword returns the string to store for a password. The algorithm may be empty: Argon2id, or PBKDF2 where only
// approved algorithms are wanted.
func (e *Engine) HashPassword(ctx context.Context, c *Call, algorithm string, pass []byte) (PasswordResult, error) {
	r := c.begin(policy.HashPassword)
	if algorithm == "" {
		algorithm = string(e.fips.Choose(algs.Argon2id))
	}
	encoded := ""
	out, err := e.compute(c, &r, policy.HashPassword, algorithm, func(row algs.Row) (_ []byte, err error) {
		encoded, err = password.Hash(ctx, row.Name, pass, nil)
		return nil, err
	}, algs.ClassPassword)
	if err != nil {
		return PasswordResult{}, err
	}
	return PasswordResult{Hash: encoded, Algorithm: out.Algorithm, Warnings: out.Warnings}, nil
}

// PasswordCheck tells whether a password is the one of a stored string.
type PasswordCheck struct {
	Valid       bool
	NeedsRehash bool // the string should be made anew: its algorithm or cost is not today's
	Algorithm   string
	Warnings    []string
}

// VerifyPassword checks a password against a stored string. A wrong password is an answer, not an error.
func (e *Engine) VerifyPassword(ctx context.Context, c *Call, encoded string, pass []byte) (PasswordCheck, error) {
	r := c.begin(policy.VerifyPassword)
	out, err := func() (PasswordCheck, error) {
		if err := e.authorizeFree(c, policy.VerifyPassword); err != nil {
			return PasswordCheck{}, err
		}
		name, err := password.Identify(encoded)
		if err != nil {
			return PasswordCheck{}, err
		}
		r.Algorithm = string(name)
		row := passwordRow(name)
		if err := e.gate(row, algs.Process); err != nil {
			return PasswordCheck{}, err
		}
		got, err := password.Verify(ctx, encoded, pass)
		if err != nil {
			return PasswordCheck{}, err
		}
		if !got.Valid {
			r.Cause = causeInvalid
		}
		if err := e.stillFree(c, policy.VerifyPassword); err != nil {
			return PasswordCheck{}, err
		}
		return PasswordCheck{
			Valid: got.Valid, NeedsRehash: got.Valid && (got.NeedsRehash || e.fips.Choose(name) != name), Algorithm: string(name),
			Warnings: e.warnings(row),
		}, nil
	}()
	if err := e.finish(c, &r, err); err != nil {
		return PasswordCheck{}, err
	}
	return out, nil
}
