// Where the server is, relative to the page, and what it asks for and offers.

export class Server {
  #token = sessionStorage.getItem("token") ?? "";

  get hasToken() { return this.#token !== ""; }

  /** For this tab, until it is closed. */
  remember(token) {
    this.#token = token;
    sessionStorage.setItem("token", token);
  }

  /** A browser's WebSocket can carry a token in its address only. */
  streamAddress(query) {
    const address = new URL("v1/stream", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    address.search = new URLSearchParams({ ...query, ...(this.#token && { token: this.#token }) });
    return address;
  }

  viewAddress(session) {
    return new URL(`view/${encodeURIComponent(session)}`, document.baseURI).href;
  }

  /** `{locked, languages}`: codes; none where the server does not say, which is no reason to stop. */
  async ask() {
    if (!/^[\x21-\x7e]*$/.test(this.#token)) return { locked: true, languages: [] };
    const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    try {
      const response = await fetch("v1/models", { headers });
      if (response.status === 401) return { locked: true, languages: [] };
      const { data } = await response.json();
      return { locked: false, languages: data[0].languages ?? [] };
    } catch {
      return { locked: false, languages: [] };
    }
  }
}
