// Package snapshot is the files of a template: a directory that is written aside, synced, renamed into place and
// never changed afterwards.
//
//	NAME/
//	  manifest.json     format version, configuration, CPU identity, sizes, checksums      [Manifest]
//	  manifest.sha256   SHA-256 of the manifest
//	  state             machine state, opaque here (package vmm)
//	  memory            guest RAM without the device hole; sparse, zero pages are holes
//
// It does not run machines and knows nothing of what is in the state. Main types in reading order: [Manifest],
// [Store], [Writer], [Template].
//
// Rules:
//   - A name is either absent or a complete template: nothing half-written is ever seen under it.
//   - Opening a template never reads its memory; [Template.Verify] does.
//   - The checksums find damage, not forgery: whoever can write the directory (mode 0700) can write the manifest too.
package snapshot
