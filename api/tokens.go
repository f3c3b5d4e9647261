package api

import (
	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
)

var refreshFields = []field{
	{name: "refresh_token", kind: text, required: true, max: auth.MaxTokenBytes},
}

// refresh takes a refresh token, which is the credential, and gives new tokens.
func (s *Server) refresh(x *exchange) error {
	if err := x.json.object(x.body, refreshFields); err != nil {
		return err
	}
	t, err := s.config.Tokens.Refresh(x.r.Context(), &x.call, x.json.values[0].text)
	if err != nil {
		return err
	}
	return x.answer(wire.RefreshResponse{
		AccessToken:      t.Access,
		TokenType:        "bearer",
		ExpiresAt:        timestamp(t.AccessExpires),
		RefreshToken:     t.Refresh,
		RefreshExpiresAt: timestamp(t.RefreshExpires),
	})
}
