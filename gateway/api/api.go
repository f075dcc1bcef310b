// Package api is what goes over the wire of the HTTP face: the bodies of its
// requests and answers, one set for the gateway that writes them, the client
// that reads them and the OpenAPI document that describes them.
//
// It knows the standard library only: programs of others link it with the
// client. Times that are not known are left out, as are empty texts and lists
// that the document does not require.
package api
