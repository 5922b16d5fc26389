"""The providers of payments that there are, by the kind of their channel."""

from host.headend.alipay import ALIPAY, Alipay
from host.headend.providers import SIMULATED, Provider, Simulated
from host.headend.wechat import WECHAT, WeChat

PROVIDERS: dict[str, Provider] = {SIMULATED: Simulated(), WECHAT: WeChat(), ALIPAY: Alipay()}
