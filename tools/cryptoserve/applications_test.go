package main

const cannedApplicationID = "app_shop_0123456789abcdef"

const cannedApplication = `{"id":"` + cannedApplicationID + `","name":"shop","team":"web","environment":"production","description":"sells",` +
	`"status":"active","grants":[{"context":"user-pii","encrypt":true,"decrypt":true},` +
	`{"context":"cards","decrypt":true,"compromised":true,"budget":{"records":10,"bytes":2000,"seconds":60}}],` +
	`"key_id":"appkey_1","public_key":"AAEC","kept_here":true,"created_by":"user_1","created_at":"2031-01-01T00:00:00Z",` +
	`"tokens_revoked_at":"2031-01-02T00:00:00Z"}`

const cannedTenant = `{"id":"tenant_1","name":"acme","status":"active","created_at":"2031-01-01T00:00:00Z"}`

const cannedOwner = `{"tenant":` + cannedTenant + `,"invitation_id":"invitation_1","invitation_code":"cs_invite_secret",` +
	`"invitation_expires_at":"2031-01-08T00:00:00Z"}`

const cannedTokens = `{"application":` + cannedApplication + `,"access_token":"access-of-shop","token_type":"bearer",` +
	`"expires_at":"2031-01-01T01:00:00Z","refresh_token":"refresh-of-shop","refresh_expires_at":"2031-01-31T00:00:00Z"}`

func init() {
	const one = " /api/v1/applications/" + cannedApplicationID
	cannedOf = append(cannedOf, map[string]string{
		"GET /api/v1/tenants":               `{"tenants":[` + cannedTenant + `]}`,
		"POST /api/v1/tenants":              cannedOwner,
		"POST /api/v1/tenants/acme/invite":  cannedOwner,
		"POST /api/v1/tenants/acme/disable": cannedTenant,
		"POST /api/v1/tenants/acme/enable":  cannedTenant,
		"POST /api/v1/tenants/acme/restore": cannedTenant,
		"DELETE /api/v1/tenants/acme": `{"id":"tenant_1","name":"acme","status":"disabled","created_at":"2031-01-01T00:00:00Z",` +
			`"delete_at":"2031-02-01T00:00:00Z"}`,
		"DELETE /api/v1/tenants/careful": `{"id":"approval_1","act":"tenant.delete","resource":"tenant_2","state":"pending","required":2,` +
			`"decisions":[],"requester":"user_1","reason":"","created_at":"2031-01-01T00:00:00Z","expires_at":"2031-01-08T00:00:00Z"}`,
		"GET /api/v1/applications":      `{"applications":[` + cannedApplication + `]}`,
		"POST /api/v1/applications":     cannedTokens,
		"GET" + one:                     cannedApplication,
		"PUT" + one:                     cannedApplication,
		"DELETE" + one:                  `{}`,
		"POST" + one + "/disable":       cannedApplication,
		"POST" + one + "/enable":        cannedApplication,
		"POST" + one + "/tokens/rotate": cannedTokens,
		"POST" + one + "/tokens/revoke": `{}`,
		"GET" + one + "/tokens": `{"algorithm":"EdDSA","key_id":"appkey_1","kept_here":true,"access_seconds":3600,"refresh_seconds":2592000,` +
			`"refresh_families":[{"created_at":"2031-01-01T00:00:00Z","expires_at":"2031-01-31T00:00:00Z","refreshed":3}]}`,
		"POST /api/v1/applications/sdk/register": `{"app_id":"` + cannedApplicationID + `","app_name":"shop","environment":"production",` +
			`"access_token":"access-of-shop","refresh_token":"refresh-of-shop","contexts":["user-pii"],"is_new":true,` +
			`"message":"the application was registered"}`,
	})
}
