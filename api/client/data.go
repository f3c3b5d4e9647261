package client

import (
	"context"

	"cryptoserve/api/wire"
)

// Encrypt protects a plaintext in a context. The answer's Ciphertext is the whole frame that Decrypt needs. It is safe to
// repeat: a second try gives another ciphertext of the same plaintext. For more than some megabytes use EncryptStream.
func (c *Client) Encrypt(ctx context.Context, req wire.EncryptRequest) (wire.EncryptResponse, error) {
	req.Plaintext = present(req.Plaintext)
	return compute[wire.EncryptResponse](ctx, c, "encrypt", req)
}

// Decrypt opens a ciphertext frame that is no stream. Every failure of the frame itself, of its key or of the associated
// data is one and the same *Error with Code "decrypt-failed".
func (c *Client) Decrypt(ctx context.Context, req wire.DecryptRequest) (wire.DecryptResponse, error) {
	req.Ciphertext = present(req.Ciphertext)
	return compute[wire.DecryptResponse](ctx, c, "decrypt", req)
}

// Rewrap encrypts what a frame holds anew, under the context's present key version. The plaintext stays on the server.
func (c *Client) Rewrap(ctx context.Context, req wire.RewrapRequest) (wire.EncryptResponse, error) {
	req.Ciphertext = present(req.Ciphertext)
	return compute[wire.EncryptResponse](ctx, c, "rewrap", req)
}

// EncryptBatch encrypts each item in one context, all under one key version. A nil error does not mean that each item went
// well: look at Failed and at the Error of each result. Results are in the order of the items.
func (c *Client) EncryptBatch(ctx context.Context, req wire.BatchEncryptRequest) (wire.BatchEncryptResponse, error) {
	items := make([]wire.BatchEncryptItem, len(req.Items))
	for i, item := range req.Items {
		item.Plaintext = present(item.Plaintext)
		items[i] = item
	}
	req.Items = items
	answer, err := compute[wire.BatchEncryptResponse](ctx, c, "batch/encrypt", req)
	return answer, wholeBatch(err, len(items), len(answer.Results))
}

// DecryptBatch opens each frame in one context. Look at Failed and at the Error of each result. Results are in the order of
// the items.
func (c *Client) DecryptBatch(ctx context.Context, req wire.BatchDecryptRequest) (wire.BatchDecryptResponse, error) {
	req.Items = presentFrames(req.Items)
	answer, err := compute[wire.BatchDecryptResponse](ctx, c, "batch/decrypt", req)
	return answer, wholeBatch(err, len(req.Items), len(answer.Results))
}

// RewrapBatch does for each frame what Rewrap does. Look at Failed and at the Error of each result.
func (c *Client) RewrapBatch(ctx context.Context, req wire.BatchDecryptRequest) (wire.BatchEncryptResponse, error) {
	req.Items = presentFrames(req.Items)
	answer, err := compute[wire.BatchEncryptResponse](ctx, c, "batch/rewrap", req)
	return answer, wholeBatch(err, len(req.Items), len(answer.Results))
}

// DataKey makes a random key and gives it in clear and as a frame that Decrypt opens. Encrypt your own data with the clear
// key, store the frame beside it and forget the key.
func (c *Client) DataKey(ctx context.Context, req wire.DataKeyRequest) (wire.DataKeyResponse, error) {
	return compute[wire.DataKeyResponse](ctx, c, "datakey", req)
}

// WrappedDataKey is DataKey for who only stores the key: the answer has no Plaintext.
func (c *Client) WrappedDataKey(ctx context.Context, req wire.DataKeyRequest) (wire.DataKeyResponse, error) {
	return compute[wire.DataKeyResponse](ctx, c, "datakey/wrapped", req)
}

func presentFrames(items []wire.BatchDecryptItem) []wire.BatchDecryptItem {
	out := make([]wire.BatchDecryptItem, len(items))
	for i, item := range items {
		item.Ciphertext = present(item.Ciphertext)
		out[i] = item
	}
	return out
}

// wholeBatch refuses an answer that has not a result for each item.
func wholeBatch(err error, items, results int) error {
	if err == nil && items != results {
		return errResults
	}
	return err
}

// present makes sure that an empty byte string is sent as "" and not as null.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
