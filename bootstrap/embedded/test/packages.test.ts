import { execa } from "execa";
import { expect, it } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { installArguments, missingPackages } from "../src/packages.ts";

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
  expect(new Set(asked).size).toBe(asked.length);
  expect(asked.length).toBeGreaterThanOrEqual(all.length);
  for (const path of asked) expect(path).toMatch(/^\/usr\//);
  // Containers, images, supervision and the load balancer need these.
  for (const name of ["containerd", "runc", "buildah", "supervisor", "haproxy"]) expect(all).toContain(name);
});

it("has runc and containerd of Docker's packages for what they are: Debian's would take Docker away", () => {
  const docker = (path: string): boolean => ["/usr/bin/runc", "/usr/bin/containerd"].includes(path);
  const missing = missingPackages(docker);
  for (const name of ["runc", "containerd"]) expect(missing).not.toContain(name);
  expect(missing).toContain("buildah");
});

it("asks apt in a way in which it removes no package", slow, async () => {
  // `apt-` asks for the removal of apt itself, which every Debian has. This is only simulated.
  const simulate = async (name: string, args: string[]): Promise<string> =>
    (await execa("apt-get", ["--simulate", ...args, name], { reject: false, all: true })).all;
  const removal = ["install", "-y", "apt-"];
  expect(await simulate("--allow-remove-essential", removal)).toMatch(/^Remv apt /m);
  const ours = installArguments(["apt-"]);
  const { exitCode, all } = await execa("apt-get", ["--simulate", "--allow-remove-essential", ...ours], {
    reject: false,
    all: true,
  });
  expect(exitCode).not.toBe(0);
  expect(all).toMatch(/Packages need to be removed but remove is disabled/);
});
