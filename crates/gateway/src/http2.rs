//! HTTP/2 towards clients, where a published endpoint allows it.
use std::net::SocketAddr;
use std::sync::Arc;

use cmg_transport::TlsStream;

use crate::state::Gateway;

pub(crate) async fn serve(_tls: TlsStream, _address: SocketAddr, _port: u16, _server_name: Option<String>, _gateway: Arc<Gateway>) {}
