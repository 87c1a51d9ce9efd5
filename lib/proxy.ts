/** Requests that leave the machine: through the proxy that the environment names, as curl, Go, Git and npm send theirs. */

// Some environments have the variable in lower case, some in capitals.
const setting = (name: string): string | undefined =>
  process.env[name] || process.env[name.toUpperCase()] || undefined;

/** `fetch` through the proxy, which Node's own does not use. It obeys NO_PROXY. */
export async function fetchThroughProxy(url: string, options: RequestInit): Promise<Response> {
  const scheme = new URL(url).protocol.slice(0, -1);
  const proxy = setting(`${scheme}_proxy`) ?? setting("all_proxy");
  if (!proxy) return fetch(url, options);
  const undici = await import("undici");
  // Only https gets a tunnel, because proxies refuse tunnels to ports other than 443.
  const settings = {
    httpProxy: proxy,
    httpsProxy: proxy,
    noProxy: setting("no_proxy") ?? "",
    proxyTunnel: false,
  };
  const dispatcher = new undici.EnvHttpProxyAgent(settings);
  // Its types are those of the package, which say the same of Node's own.
  const request = { ...options, dispatcher } as import("undici").RequestInit;
  return (await undici.fetch(url, request)) as unknown as Response;
}
