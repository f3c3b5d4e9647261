package client

import (
	"context"

	"cryptoserve/api/wire"
)

// Sign signs a message with a key object of purpose sign.
func (c *Client) Sign(ctx context.Context, req wire.SignRequest) (wire.SignResponse, error) {
	req.Message = present(req.Message)
	return compute[wire.SignResponse](ctx, c, "sign", req)
}

// Verify tells whether a signature is one of a message by a key object. A nil error does not mean that it is: look at Valid.
func (c *Client) Verify(ctx context.Context, req wire.VerifyRequest) (wire.VerifyResponse, error) {
	req.Message = present(req.Message)
	return compute[wire.VerifyResponse](ctx, c, "verify", req)
}

// MAC gives the authentication code of a message under a key object of purpose mac.
func (c *Client) MAC(ctx context.Context, req wire.MACRequest) (wire.MACResponse, error) {
	req.Message = present(req.Message)
	return compute[wire.MACResponse](ctx, c, "mac", req)
}

// VerifyMAC tells whether a code is that of a message. A nil error does not mean that it is: look at Valid.
func (c *Client) VerifyMAC(ctx context.Context, req wire.MACVerifyRequest) (wire.VerifyResponse, error) {
	req.Message, req.MAC = present(req.Message), present(req.MAC)
	return compute[wire.VerifyResponse](ctx, c, "mac/verify", req)
}

// Encapsulate makes a shared secret for the owner of a key object of purpose kem.
func (c *Client) Encapsulate(ctx context.Context, key string) (wire.EncapsulateResponse, error) {
	return compute[wire.EncapsulateResponse](ctx, c, "kem/encapsulate", wire.EncapsulateRequest{Key: key})
}

// Decapsulate gives the shared secret of a ciphertext. One that was not made for the key gives a secret that nobody else has.
func (c *Client) Decapsulate(ctx context.Context, req wire.DecapsulateRequest) (wire.DecapsulateResponse, error) {
	req.Ciphertext = present(req.Ciphertext)
	return compute[wire.DecapsulateResponse](ctx, c, "kem/decapsulate", req)
}

// Agree gives a key agreed with a peer, whose public key is in the request.
func (c *Client) Agree(ctx context.Context, req wire.AgreeRequest) (wire.AgreeResponse, error) {
	return compute[wire.AgreeResponse](ctx, c, "agree", req)
}

// EncryptWithKey encrypts to a key object of purpose encrypt.
func (c *Client) EncryptWithKey(ctx context.Context, req wire.KeyEncryptRequest) (wire.KeyEncryptResponse, error) {
	req.Plaintext = present(req.Plaintext)
	return compute[wire.KeyEncryptResponse](ctx, c, "key/encrypt", req)
}

// DecryptWithKey decrypts what was encrypted to a key object, here or elsewhere with its public key.
func (c *Client) DecryptWithKey(ctx context.Context, req wire.KeyDecryptRequest) (wire.KeyDecryptResponse, error) {
	req.Ciphertext = present(req.Ciphertext)
	return compute[wire.KeyDecryptResponse](ctx, c, "key/decrypt", req)
}
