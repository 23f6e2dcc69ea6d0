package acpi

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// aml is encoded AML (ACPI 6.5 §20.2). Names of the functions below are ASL's.
type aml []byte

const (
	opName    = 0x08
	opByte    = 0x0a
	opWord    = 0x0b
	opDWord   = 0x0c
	opString  = 0x0d
	opQWord   = 0x0e
	opScope   = 0x10
	opBuffer  = 0x11
	opPackage = 0x12
	opMethod  = 0x14
	opExt     = 0x5b
	opDevice  = 0x82 // after opExt
	opArg0    = 0x68
	opNotify  = 0x86
	opLEqual  = 0x93
	opIf      = 0xa0
)

func join(parts ...aml) aml {
	var out aml
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// nameString encodes a path of four-letter segments, such as \_SB or VR00 (§20.2.2). Short segments are padded.
func nameString(path string) aml {
	var out aml
	rest, root := strings.CutPrefix(path, `\`)
	if root {
		out = append(out, '\\')
	}
	segments := strings.Split(rest, ".")
	switch n := len(segments); n {
	case 1:
	case 2:
		out = append(out, 0x2e)
	default:
		out = append(out, 0x2f, byte(n))
	}
	for _, s := range segments {
		out = append(out, fmt.Sprintf("%-4.4s", s)...)
	}
	for i, b := range out {
		if b == ' ' {
			out[i] = '_'
		}
	}
	return out
}

// integer takes the shortest form (§20.2.3).
func integer(v uint64) aml {
	switch {
	case v <= 1:
		return aml{byte(v)} // ZeroOp, OneOp
	case v <= 0xff:
		return aml{opByte, byte(v)}
	case v <= 0xffff:
		return binary.LittleEndian.AppendUint16(aml{opWord}, uint16(v))
	case v <= 0xffffffff:
		return binary.LittleEndian.AppendUint32(aml{opDWord}, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(aml{opQWord}, v)
}

func str(s string) aml { return append(append(aml{opString}, s...), 0) }

// eisaID encodes an id of three letters and four hexadecimal digits as ASL's EISAID does (§19.6.37).
func eisaID(id string) aml {
	v := uint32(id[0]-0x40)<<26 | uint32(id[1]-0x40)<<21 | uint32(id[2]-0x40)<<16
	for i, c := range id[3:7] {
		v |= uint32(strings.IndexRune("0123456789ABCDEF", c)) << (12 - 4*i)
	}
	var swapped [4]byte
	binary.BigEndian.PutUint32(swapped[:], v)
	return integer(uint64(binary.LittleEndian.Uint32(swapped[:])))
}

// counted puts opcodes and a PkgLength, which counts itself, before body (§20.2.4).
func counted(opcode aml, body aml) aml {
	var length aml
	switch n := len(body); {
	case n+1 < 1<<6:
		length = aml{byte(n + 1)}
	case n+2 < 1<<12:
		n += 2
		length = aml{1<<6 | byte(n&0xf), byte(n >> 4)}
	default: // up to 1 MiB, many times the area that the tables have
		n += 3
		length = aml{2<<6 | byte(n&0xf), byte(n >> 4), byte(n >> 12)}
	}
	return join(opcode, length, body)
}

func name(path string, value aml) aml { return join(aml{opName}, nameString(path), value) }

func scope(path string, terms ...aml) aml {
	return counted(aml{opScope}, join(nameString(path), join(terms...)))
}

func device(path string, terms ...aml) aml {
	return counted(aml{opExt, opDevice}, join(nameString(path), join(terms...)))
}

// method declares a method that is not serialized.
func method(path string, args byte, terms ...aml) aml {
	return counted(aml{opMethod}, join(nameString(path), aml{args}, join(terms...)))
}

func pkg(elements ...aml) aml {
	return counted(aml{opPackage}, join(aml{byte(len(elements))}, join(elements...)))
}

func buffer(b []byte) aml { return counted(aml{opBuffer}, join(integer(uint64(len(b))), b)) }

func ifThen(predicate aml, terms ...aml) aml {
	return counted(aml{opIf}, join(predicate, join(terms...)))
}

func equal(a, b aml) aml { return join(aml{opLEqual}, a, b) }

func notify(path string, value uint64) aml {
	return join(aml{opNotify}, nameString(path), integer(value))
}

func arg0() aml { return aml{opArg0} }
