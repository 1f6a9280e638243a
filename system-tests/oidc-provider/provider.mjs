// A real OpenID Connect provider (npm oidc-provider) for the system tests: people sign in without a password, since the test says who.
//
// Settings come as JSON in the first argument:
//   port, certificate, key    where it listens, and its TLS files
//   keyId                     the id of its one signing key, which is made at each start: starting again is a rotation
//   redirectUris              where the site's sign-in comes back to
//   clientSecret              the secret of the clients `console` and `device`; `public` has none
// Who signs in is said by the field `X-Test-Subject` of the request to the interaction. Each request is one line on standard output.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import Provider from 'oidc-provider';

const settings = JSON.parse(process.argv[2]);
const issuer = `https://localhost:${settings.port}`;
const signing = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const client = (more) => ({ token_endpoint_auth_method: 'client_secret_basic', response_types: ['code'], grant_types: ['authorization_code'], ...more });

const provider = new Provider(issuer, {
  clients: [
    client({ client_id: 'console', client_secret: settings.clientSecret, redirect_uris: settings.redirectUris }),
    client({ client_id: 'public', token_endpoint_auth_method: 'none', redirect_uris: settings.redirectUris }),
    client({
      client_id: 'device',
      client_secret: settings.clientSecret,
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
    }),
  ],
  jwks: { keys: [{ ...signing, kid: settings.keyId, alg: 'RS256', use: 'sig' }] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({ scope: '', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 600 }),
    },
  },
  pkce: { required: () => true },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // Nobody is asked for consent: the console belongs to whoever runs the provider.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid');
    await grant.save();
    return grant;
  },
});

const serve = provider.callback();
const server = createServer({ cert: readFileSync(settings.certificate), key: readFileSync(settings.key) }, async (request, response) => {
  console.log(`${request.method} ${request.url.split('?')[0]}`);
  if (!request.url.startsWith('/interaction/')) return serve(request, response);
  try {
    await provider.interactionDetails(request, response);
    const accountId = request.headers['x-test-subject'];
    const result = accountId ? { login: { accountId } } : { error: 'access_denied', error_description: 'nobody signed in' };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  } catch (error) {
    response.writeHead(400).end(String(error));
  }
});
server.listen(settings.port, '127.0.0.1', () => console.log('listening'));
