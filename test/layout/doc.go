// Package layout tests the shape of this repository: which package may import which, where unsafe and the end of the
// process are allowed, that documents name only what exists, and that every package and dependency is explained.
//
// It tests no behaviour, and holds no production code. The rules are tables at the top of their files:
//
//	imports_test.go    package → what it may import; forbidden edges, each with its reason; who uses which module
//	calls_test.go      unsafe, panic, os.Exit, init
//	docs_test.go       paths, links and Go names in the documents
//	commands_test.go   make targets, clone's subcommands and flags in the documents
//	shape_test.go      package comments, the code map, the table of dependencies, length of files
//
// tree_test.go reads the source for all of them. Each check is a function from a tree to its findings, so that
// broken_test.go can break every rule once, in a tree of its own, and see that it is found.
package layout
