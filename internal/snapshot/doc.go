// Package snapshot is the files of a template: a directory that is written aside, synced, renamed into place and
// never changed afterwards.
//
//	NAME/
//	  manifest.json     format version, id, parent, configuration, CPU identity, sizes, checksums      [Manifest]
//	  manifest.sha256   SHA-256 of the manifest
//	  state             machine state, opaque here (package vmm)
//	  memory            guest RAM without the device hole; sparse, zero pages are holes
//	  memory.map        of a template that builds on another: which pages of memory are its own        [Extent]
//
// A template's memory is a whole image, or a layer over the one of a parent template. It is looked at as an [Image]: pieces,
// each of a file of the chain.
//
// It does not run machines and knows nothing of what is in the state. Main types in reading order: [Manifest],
// [Store], [Writer], [Template], [Image].
//
// Rules:
//   - A name is either absent or a complete template: nothing half-written is ever seen under it.
//   - Opening a template never reads its memory; [Template.Verify] does.
//   - What the template with an id shows never changes. How it is stored does, when it is flattened, by one exchange of
//     directories; who has it open goes on with the files it opened.
//   - The checksums find damage, not forgery: whoever can write the directory (mode 0700) can write the manifest too.
package snapshot
