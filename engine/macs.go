package engine

import (
	"context"
	"crypto/subtle"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/mac"
	"cryptoserve/engine/policy"
)

// MACRequest asks for the authentication code of a message under a key object.
type MACRequest struct {
	Key           string
	Message       []byte
	Customization []byte // KMAC only
	OutputBytes   int    // 0 means the usual length
}

// MACResult holds the code.
type MACResult struct {
	MAC       []byte
	KeyID     string
	Version   uint32
	Algorithm string
	Warnings  []string
}

// MAC computes a code with the active version of a key object.
func (e *Engine) MAC(ctx context.Context, c *Call, in *MACRequest) (MACResult, error) {
	r := c.begin(policy.MAC)
	r.Resource, r.In = in.Key, len(in.Message)
	var out MACResult
	err := e.protectWithKey(ctx, c, &r, policy.MAC, in.Key, keys.PurposeMAC, func(p *plan, row algs.Row, warnings []string) error {
		v := p.active
		tag, err := e.macWith(ctx, v, in)
		if err != nil {
			return err
		}
		out = MACResult{MAC: tag, KeyID: v.ID, Version: v.Number, Algorithm: string(row.Name), Warnings: warnings}
		r.Out = len(tag)
		return nil
	})
	if err != nil {
		return MACResult{}, err
	}
	return out, nil
}

// macWith computes a code where the version's key is: in the token, or on this node.
func (e *Engine) macWith(ctx context.Context, v *keys.Version, in *MACRequest) ([]byte, error) {
	o := mac.Options{Customization: in.Customization, OutputBytes: in.OutputBytes}
	if len(v.Wrapped) == 0 {
		key, err := e.dek(ctx, v)
		if err != nil {
			return nil, err
		}
		defer key.release()
		return mac.Sum(v.Algorithm, key.key.Reveal(), in.Message, o)
	}
	n, err := mac.Length(v.Algorithm, o)
	if err != nil {
		return nil, err
	}
	tag, err := e.vault.MAC(ctx, v.Algorithm, v.Wrapped, in.Message)
	if err != nil {
		return nil, err
	}
	return tag[:min(n, len(tag))], nil
}

// MACVerifyRequest asks whether a code is that of a message.
type MACVerifyRequest struct {
	MACRequest

	MAC   []byte // OutputBytes long: who made a short one says so here too
	KeyID string // the version that made it; empty tries them, newest first
}

// VerifyMAC checks a code in constant time. One that is not right is an answer, not an error.
func (e *Engine) VerifyMAC(ctx context.Context, c *Call, in *MACVerifyRequest) (VerifyResult, error) {
	r := c.begin(policy.VerifyMAC)
	r.Resource, r.In = in.Key, len(in.Message)
	var out VerifyResult
	err := e.processWithKey(ctx, c, &r, policy.VerifyMAC, in.Key, in.KeyID, keys.PurposeMAC, func(v *keys.Version, row algs.Row, warnings []string) (bool, error) {
		out.Algorithm, out.Warnings = string(row.Name), warnings
		tag, err := e.macWith(ctx, v, &in.MACRequest)
		if err != nil {
			return false, err
		}
		if subtle.ConstantTimeCompare(tag, in.MAC) != 1 {
			r.Cause = causeInvalid
			return false, nil
		}
		out.Valid, out.KeyID, r.Cause = true, v.ID, ""
		return true, nil
	}, nil)
	if err != nil {
		return VerifyResult{}, err
	}
	return out, nil
}
