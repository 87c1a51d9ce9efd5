/** Registries with a login, with immutable tags, and ones that do not say: by the commands that ask them. */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { until } from "../../lib/failure.ts";
import { parseRegistry } from "../../lib/images/build.ts";
import { loginsFor } from "../../lib/images/logins.ts";
import { lookUp, manifestURL, parseChallenge, resolveDigest } from "../../lib/images/registry.ts";
import { installed } from "../../lib/test/debian.ts";
import { slow } from "../../lib/test/long.ts";
import { promote } from "../src/release/promote.ts";
import { release, rollback } from "../src/release/release.ts";
import { type Door, RealRegistry, user } from "./registry.ts";
import { type Clone, failureOf, kustomization, Shop } from "./shop.ts";

const image = "registry.example/shop/cart";
const overlay = "gitops/apps/shop/overlays/staging/kustomization.yaml";

let shop: Shop;
beforeEach(async () => {
  shop = await Shop.open();
  vi.stubEnv("IMAGE_BUILDER", shop.builder);
  // Whoever runs the tests may have logins of their own.
  for (const variable of [
    "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DOCKER_CONFIG",
    "HOME",
  ])
    vi.stubEnv(variable, join(shop.directory, "home"));
  vi.stubEnv("REGISTRY_AUTH_FILE", undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  shop.close();
});

/** Writes a file of logins into the directory that stands in for the home directory. */
function keep(file: string, content: unknown): void {
  const path = join(shop.directory, "home", file);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, JSON.stringify(content));
}
const auth = Buffer.from(`${user.name}:${user.password}`).toString("base64");

describe.each<Door>(["token", "basic"])(
  "a registry that asks for a login (%s) and has immutable tags",
  (door) => {
    let registry: RealRegistry;
    let clone: Clone;
    beforeAll(async () => {
      installed("buildah");
      registry = await RealRegistry.open(door);
    });
    afterAll(() => registry.close());
    beforeEach(async () => {
      clone = await shop.clone("clone");
      registry.asked.length = 0;
      registry.fails = undefined;
      keep("config.json", { auths: { [registry.host]: { auth } } });
    });
    const options = () => ({ ...clone.options(), registry: parseRegistry(`http://${registry.host}`) });

    test("is not pushed to where the image is there", async () => {
      await registry.put(image, await clone.change(`released ${door}\n`));
      expect((await release(options())).outcome).toBe("committed");
      expect(shop.built()).toEqual([]);
    });

    test("is pushed to where it is not", async () => {
      const tag = await clone.change("absent\n");
      await release(options());
      expect(shop.built().map((line) => line.split(" ")[0])).toEqual(["build", "push"]);
      expect(registry.asked).toContain(
        `HEAD /v2/${image}/manifests/${tag} ${door === "token" ? "Bearer" : "Basic"}`,
      );
    });

    test("has what is promoted, or it is refused", slow, async () => {
      const first = await clone.change("first\n");
      clone.write(overlay, `images:\n  - name: ${image}\n    newTag: "${first}"\n`);
      await clone.commit("staging");
      const second = await clone.change(`promoted ${door}\n`);
      await release(options());
      const promotion = { ...options(), from: "local", to: "staging" };
      await expect(promote(promotion)).rejects.toMatchObject({
        message: `${registry.host}/${image}:${second} is not there`,
        next: `npm run release -- cart --registry http://${registry.host}`,
      });
      await registry.put(image, second);
      expect((await promote(promotion)).outcome).toBe("committed");
    });

    test("has what is rolled back to, or it is refused", slow, async () => {
      const one = await clone.change(`one ${door}\n`);
      await release(options());
      await clone.change("two\n");
      await release(options());
      const failure = { message: `${registry.host}/${image}:${one} is not there` };
      const started = ["rollback", "cart", "--registry", `http://${registry.host}`];
      const refused = await failureOf(rollback(options()));
      expect(refused).toMatchObject(failure);
      if (door === "basic") {
        // None of the tags before is there: the sources go back, and their image is built.
        expect((await clone.follow(refused)).exitCode).toBe(0);
        expect(clone.read("services/cart/main.ts")).toBe(`one ${door}\n`);
        expect(clone.read(kustomization)).toContain(one);
        return;
      }
      await registry.put(image, "000000000000");
      expect((await clone.follow(await failureOf(rollback(options())), started)).exitCode).toBe(0);
      expect(clone.read(kustomization)).toContain('"000000000000"');
      await registry.put(image, one);
      expect((await rollback({ ...options(), to: one })).message).toBe(`deploy(cart): ${one}`);
    });

    test("that does not say stops a promotion and no rollback", slow, async () => {
      const one = await clone.change(`unsaid ${door}\n`);
      clone.write(overlay, `images:\n  - name: ${image}\n    newTag: "${one}"\n`);
      await clone.commit("staging");
      await release(options());
      await clone.change("two\n");
      await release(options());
      const promotion = { ...options(), from: "local", to: "staging" };
      for (const [fails, why] of [
        [503, "answered 503"],
        [429, "answered 429"],
        ["hangs up", "does not answer"],
      ] as const) {
        registry.fails = fails;
        const failure = await failureOf(promote(promotion));
        expect(failure.message).toMatch(new RegExp(`not known whether .* is there: .*${why}`));
        // What is next shows the answer that the tool got.
        expect((await clone.follow(failure)).all).toMatch(fails === "hangs up" ? /Empty reply/ : `${fails}`);
      }
      expect((await rollback(options())).message).toBe(`deploy(cart): ${one}`);
    });

    test("that refuses the login is told from one without the image", slow, async () => {
      keep("config.json", {
        auths: { [registry.host]: { auth: Buffer.from("robot:wrong").toString("base64") } },
      });
      const reference = `${registry.host}/${image}:1`;
      expect(await lookUp(reference)).toMatchObject({ state: "unsaid", needsLogin: true });
      keep("config.json", {});
      expect(await lookUp(reference)).toMatchObject({ state: "unsaid", needsLogin: true });
      keep("config.json", { auths: { [registry.host]: { auth } } });
      expect(await lookUp(reference)).toEqual({ state: "absent" });
      const digest = await registry.put(image, "1");
      expect(await lookUp(reference)).toEqual({ state: "there", digest });
      expect(await resolveDigest(reference)).toBe(digest);
    });

    test("names the login that a promotion lacks", slow, async () => {
      const tag = await clone.change("one\n");
      clone.write(overlay, `images:\n  - name: ${image}\n    newTag: "000"\n`);
      await clone.commit("staging");
      await release(options());
      await registry.put(image, tag);
      keep("config.json", {});
      vi.stubEnv("IMAGE_BUILDER", "buildah");
      vi.stubEnv("REGISTRY_AUTH_FILE", join(shop.directory, "home/auth.json"));
      const failure = await failureOf(promote({ ...options(), from: "local", to: "staging" }));
      expect(failure.message).toContain(`not known whether ${registry.host}/${image}:${tag} is there`);
      const unsaid = await failureOf(resolveDigest(`${registry.host}/${image}:${tag}`));
      expect(unsaid.next).toBe(failure.next);
      // A person types them.
      const typed = `--username ${user.name} --password ${user.password}`;
      const next = failure.next?.replace("login", `login ${typed}`);
      expect(await clone.follow({ next })).toMatchObject({ exitCode: 0 });
      expect((await promote({ ...options(), from: "local", to: "staging" })).outcome).toBe("committed");
    });

    test("where somebody else was faster with the same tag has the image", slow, async () => {
      const tag = await clone.change(`raced ${door}\n`);
      // The push is refused, because the tag has come meanwhile.
      writeFileSync(
        shop.builder,
        `#!/bin/sh\n[ "$1" = push ] || exit 0\ntouch ${shop.calls}\nsleep 1\nexit 1\n`,
      );
      chmodSync(shop.builder, 0o755);
      const released = release(options());
      await until("the push", 60, async () => (existsSync(shop.calls) ? undefined : "not yet"));
      await registry.put(image, tag);
      expect((await released).outcome).toBe("committed");
    });
  },
);

describe("a login", () => {
  let registry: RealRegistry;
  beforeAll(async () => {
    registry = await RealRegistry.open("token");
    await registry.put("team/a", "1");
    await registry.put("public/a", "1");
  });
  afterAll(() => registry.close());
  const state = async (name: string): Promise<string> => (await lookUp(`${registry.host}/${name}:1`)).state;

  /** A helper as docker calls it; it answers for one server. */
  function helper(name: string, server: string, answer: object): void {
    const bin = join(shop.directory, "bin");
    mkdirSync(bin, { recursive: true });
    const file = join(bin, `docker-credential-${name}`);
    const script = `#!/bin/sh\n[ "$1" = get ] && [ "$(cat)" = "${server}" ] || exit 1\necho '${JSON.stringify(answer)}'\n`;
    writeFileSync(file, script);
    chmodSync(file, 0o755);
    vi.stubEnv("PATH", `${bin}:${process.env.PATH}`);
  }

  test.each<[string, string, (host: string) => object]>([
    ["docker", "config.json", (host) => ({ auths: { [host]: { auth } } })],
    ["docker, with a scheme", "config.json", (host) => ({ auths: { [`https://${host}/v1/`]: { auth } } })],
    ["podman", "containers/auth.json", (host) => ({ auths: { [host]: { auth } } })],
    ["podman, for a team", "containers/auth.json", (host) => ({ auths: { [`${host}/team`]: { auth } } })],
    [
      "podman, for a repository, beside another's",
      "containers/auth.json",
      (host) => ({ auths: { [host]: { auth: "eDp5" }, [`${host}/team/a`]: { auth } } }),
    ],
    [
      "docker, as an identity token",
      "config.json",
      (host) => ({ auths: { [host]: { identitytoken: user.identityToken } } }),
    ],
  ])("is found where %s keeps it", async (_, file, content) => {
    expect(await state("team/a")).toBe("unsaid");
    keep(file, content(registry.host));
    expect(await state("team/a")).toBe("there");
  });

  test("is found in the file that the environment names", async () => {
    keep("elsewhere.json", { auths: { [registry.host]: { auth } } });
    vi.stubEnv("REGISTRY_AUTH_FILE", join(shop.directory, "home/elsewhere.json"));
    expect(await state("team/a")).toBe("there");
  });

  test("comes from a helper for all registries, for one, and as an identity token", async () => {
    const login = { Username: user.name, Secret: user.password };
    helper("all", registry.host, login);
    keep("config.json", { credsStore: "all" });
    expect(await state("team/a")).toBe("there");
    helper("one", registry.host, { Username: "<token>", Secret: user.identityToken });
    keep("config.json", { credHelpers: { [registry.host]: "one" } });
    expect(await state("team/a")).toBe("there");
    keep("config.json", { credsStore: "missing" });
    expect(await state("team/a")).toBe("unsaid");
  });

  test("that is out of date hides neither another one nor what is public", async () => {
    const old = { auths: { [registry.host]: { auth: Buffer.from("robot:old").toString("base64") } } };
    keep("containers/auth.json", old);
    expect(await state("public/a")).toBe("there");
    keep("config.json", { auths: { [registry.host]: { auth } } });
    expect(await state("team/a")).toBe("there");
  });

  test("of a team is not another's", async () => {
    keep("containers/auth.json", { auths: { [`${registry.host}/tea`]: { auth } } });
    expect(await state("team/a")).toBe("unsaid");
    expect(await loginsFor(`${registry.host}/tea`)).toHaveLength(1);
  });

  test("that is half a file is none", async () => {
    mkdirSync(join(shop.directory, "home"), { recursive: true });
    writeFileSync(join(shop.directory, "home/config.json"), '{"auths": {');
    expect(await state("team/a")).toBe("unsaid");
  });
});

describe("Docker Hub", () => {
  test.each([
    ["docker.io/library/redis:7", "library/redis/manifests/7"],
    ["docker.io/redis:7", "library/redis/manifests/7"],
    ["index.docker.io/team/app:1", "team/app/manifests/1"],
    ["registry-1.docker.io/team/app", "team/app/manifests/latest"],
    ["redis:7", "library/redis/manifests/7"],
    ["team/app:1", "team/app/manifests/1"],
  ])("is asked for %s at its address", (name, path) => {
    expect(manifestURL(name)).toBe(`https://registry-1.docker.io/v2/${path}`);
  });

  test.each(["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"])(
    "has the login that is kept as %s",
    async (key) => {
      keep("config.json", { auths: { [key]: { auth } } });
      expect(await loginsFor("docker.io/team/app")).toEqual([
        { username: user.name, password: user.password },
      ]);
    },
  );
});

describe("an answer that says nothing of the image is not taken for one", () => {
  const manifest = { "content-type": "application/vnd.oci.image.manifest.v1+json" };
  const bearer = (realm: string) => ({ "www-authenticate": `Bearer realm="${realm}"` });
  const page = { "content-type": "text/html; charset=utf-8" };
  /** What is found of an image in a registry that answers so. */
  async function found(
    answer: (request: IncomingMessage, response: ServerResponse) => unknown,
  ): Promise<unknown> {
    const server = createServer((request, response) => void answer(request, response));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    try {
      return await lookUp(`127.0.0.1:${(server.address() as AddressInfo).port}/team/a:1`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test.each<[string, Parameters<typeof found>[0], RegExp]>([
    ["a page that a portal answers with", (_, to) => to.writeHead(200, page).end("<html>"), /a page, not/],
    [
      "a page instead of a token",
      ({ url }, to) => to.writeHead(url?.startsWith("/t") ? 200 : 401, bearer("/t")).end("<html>"),
      /no token/,
    ],
    [
      "an address of tokens that is none",
      (_, to) => to.writeHead(401, bearer("http://")).end(),
      /is not a URL/,
    ],
    ["no word of what login is wanted", (_, to) => to.writeHead(401).end(), /a login of a kind/],
    ["one redirect after the other", (_, to) => to.writeHead(301, { location: "/again" }).end(), /redirect/],
  ])("%s", async (_, answer, why) => {
    expect(await found(answer)).toMatchObject({ state: "unsaid", why: expect.stringMatching(why) });
  });

  test("but a manifest is one where only whole manifests are given", async () => {
    const answer = ({ method }: IncomingMessage, to: ServerResponse): unknown =>
      method === "HEAD" ? to.writeHead(405).end() : to.writeHead(200, manifest).end("{}");
    expect(await found(answer)).toMatchObject({ state: "there" });
  });

  test("nor is a name that no image can have", async () => {
    await expect(lookUp("registry example:5000/a:1")).rejects.toThrow(
      "registry example:5000/a:1 is not the name of an image",
    );
  });
});

describe("a challenge", () => {
  test.each([
    ['Bearer realm="https://a/token",service="s"', "Bearer", { realm: "https://a/token", service: "s" }],
    ['Basic realm="a, b", Bearer realm="https://a/token"', "Bearer", { realm: "https://a/token" }],
    ['Bearer realm="https://a/token", Basic realm="a"', "Basic", { realm: "a" }],
    ["bearer Realm=https://a/token, service=s", "Bearer", { realm: "https://a/token", service: "s" }],
    ["Negotiate, Basic", "Basic", {}],
    ['Digest realm="Bearer"', "Bearer", undefined],
  ])("%s is read", (header, scheme, parameters) => {
    expect(parseChallenge(header, scheme)).toEqual(parameters);
  });
});

test("a registry on this machine is asked without TLS, unless it is named with it", () => {
  expect(parseRegistry("localhost:5001")).toEqual({ mirror: "localhost:5001", insecure: true });
  expect(parseRegistry("https://localhost:5001")).toEqual({ mirror: "localhost:5001", insecure: false });
  expect(parseRegistry("registry.example")).toEqual({ mirror: "registry.example", insecure: false });
});

test(
  "what is in no registry of its own name is told of an image that its registry does not have",
  slow,
  async () => {
    const registry = await RealRegistry.open("open");
    try {
      const clone = await shop.clone("clone");
      const name = `${registry.host}/shop/cart`;
      clone.write(kustomization, clone.read(kustomization).replaceAll(image, name));
      const tag = await clone.change("one\n");
      clone.write(overlay, `images:\n  - name: ${name}\n    newTag: "000"\n`);
      await clone.commit("staging");
      const own = { ...clone.options(), registry: parseRegistry(undefined) };
      await release(own);
      await expect(promote({ ...own, from: "local", to: "staging" })).rejects.toThrow(
        `${name}:${tag} is not there`,
      );
      await registry.put("shop/cart", tag);
      expect((await promote({ ...own, from: "local", to: "staging" })).outcome).toBe("committed");
      expect(registry.asked.every((line) => line.includes("/v2/shop/cart/"))).toBe(true);
    } finally {
      await registry.close();
    }
  },
);
