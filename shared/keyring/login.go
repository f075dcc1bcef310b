package keyring

// loginPurpose is what the logins of browsers are sealed for.
const loginPurpose = "console login"

// SealLogin seals what a browser keeps of a login.
func (r *Ring) SealLogin(login []byte) []byte { return r.keeper.Seal(loginPurpose, login) }

// OpenLogin opens it again.
func (r *Ring) OpenLogin(sealed []byte) ([]byte, error) { return r.keeper.Open(loginPurpose, sealed) }
