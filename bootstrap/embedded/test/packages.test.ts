import { expect, it } from "vitest";
import { missingPackages } from "../src/packages.ts";

it("misses nothing where every file is there", () => {
  expect(missingPackages(() => true)).toEqual([]);
});

it("names the packages whose file is not there", () => {
  const gone = ["/usr/sbin/haproxy", "/usr/lib/cni/ptp"];
  expect(missingPackages((path) => !gone.includes(path))).toEqual(["containernetworking-plugins", "haproxy"]);
});

it("asks for each package by a file of its own, named in full", () => {
  const asked: string[] = [];
  const all = missingPackages((path) => {
    asked.push(path);
    return false;
  });
  expect(new Set(asked).size).toBe(all.length);
  for (const path of asked) expect(path).toMatch(/^\/usr\//);
  // What containers, images, supervision and the entry stand on.
  for (const name of ["containerd", "runc", "buildah", "supervisor", "haproxy"]) expect(all).toContain(name);
});
